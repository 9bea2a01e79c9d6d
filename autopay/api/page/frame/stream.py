"""`/events`: tells browsers that the ledger has grown, by server-sent events; they then read what they show anew."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import StreamingResponse

from autopay.adapters.postgres.reports.events import START, parse_cursor
from autopay.api.services import ServicesNeeded
from autopay.client.errors import InvalidCall
from autopay.domain.errors import CursorLost

if TYPE_CHECKING:
    from autopay.adapters.postgres.reports.events import LedgerEvent

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
    return StreamingResponse(
        _messages(services.sources.ledger.events.follow(after=cursor)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _messages(following: AsyncIterator[LedgerEvent]) -> AsyncIterator[str]:
    """The events as text, and a beat when none comes."""
    yield _message("beat")
    coming = asyncio.ensure_future(anext(following))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=BEAT_S)
            if not done:
                yield _message("beat")
                continue
            event = coming.result()
            told = {"kind": event.kind, "agent": event.agent, "request": event.request_id}
            yield _message("ledger", json.dumps(told), event.cursor)
            coming = asyncio.ensure_future(anext(following))
    except CursorLost:
        yield _message("lost")  # the ledger is another one than before: the page is read anew
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


def _message(name: str, data: str = "", cursor: str | None = None) -> str:
    return f"event: {name}\n" + (f"id: {cursor}\n" if cursor else "") + f"data: {data}\n\n"
