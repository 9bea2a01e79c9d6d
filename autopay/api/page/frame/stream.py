"""`/events`: tells browsers that the ledger has grown, by server-sent events; they then read what they show anew."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from autopay.adapters.postgres.reports.events import START, parse_cursor
from autopay.adapters.postgres.reports.stream import LedgerStream, TooManyReaders
from autopay.api.services import ServicesNeeded
from autopay.client.errors import InvalidCall, Unreachable
from autopay.domain.errors import CursorLost

BEAT_S = 5.0
"""So often something is said, so that a browser notices when nothing comes any more."""

router = APIRouter()


@router.get("/events", include_in_schema=False)
async def events(
    services: ServicesNeeded,
    after: Annotated[str, Query(max_length=60)] = START,
    last_event_id: Annotated[str | None, Header(max_length=60)] = None,
) -> StreamingResponse:
    """Every change of the ledger behind a cursor, as an event named `ledger` whose id is the next cursor."""
    cursor = last_event_id or after
    try:
        parse_cursor(cursor)
    except ValueError:
        raise InvalidCall("after: not a cursor", "wrong_cursor") from None
    if services.stream.is_full:
        raise Unreachable("too many pages are open; close one, or try again", "too_many_streams")
    return StreamingResponse(
        _messages(services.stream, cursor),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _messages(stream: LedgerStream, cursor: str) -> AsyncIterator[str]:
    """The events as text, and a beat when none comes."""
    yield _message("beat")
    try:
        async with stream.place():
            async for event in stream.read(cursor, beat_s=BEAT_S):
                if event is None:
                    yield _message("beat")
                    continue
                told = {"kind": event.kind, "agent": event.agent, "request": event.request_id}
                yield _message("ledger", json.dumps(told), event.cursor)
    except TooManyReaders:
        return  # the browser connects again
    except CursorLost:
        yield _message("lost")  # the ledger is another one than before: the page is read anew


def _message(name: str, data: str = "", cursor: str | None = None) -> str:
    return f"event: {name}\n" + (f"id: {cursor}\n" if cursor else "") + f"data: {data}\n\n"
