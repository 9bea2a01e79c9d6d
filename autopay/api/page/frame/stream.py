"""`/events`: tells browsers that the ledger has grown, by server-sent events; they then read what they show anew."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.responses import StreamingResponse

from autopay.api.routes.events import Start, checked_cursors, start_of
from autopay.api.services import Services, ServicesNeeded
from autopay.domain.errors import CursorLost

BEAT_S = 5.0
"""So often something is said, so that a browser notices when nothing comes any more."""

router = APIRouter(include_in_schema=False)


@router.get("/events", dependencies=[Depends(checked_cursors)])
async def events(services: ServicesNeeded, start: Annotated[Start, Depends(start_of)]) -> StreamingResponse:
    """Every change of the ledger behind a cursor, as an event named `ledger` whose id is the next cursor."""
    return StreamingResponse(
        _messages(services, start),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _messages(services: Services, start: Start) -> AsyncIterator[str]:
    """The events as text, and a beat when none comes."""
    yield _message("lost", cursor=start.cursor) if start.lost else _message("beat")
    cursor = start.cursor
    while True:
        try:
            async for event in services.stream.read(cursor, start.agent, beat_s=BEAT_S):
                if event is None:
                    yield _message("beat")
                else:
                    told = {"kind": event.kind, "agent": event.agent, "request": event.request_id}
                    yield _message("ledger", json.dumps(told), event.cursor)
        except CursorLost:  # the ledger is another one than before: what is shown is read anew
            cursor = await services.sources.ledger.events.newest_cursor()
            yield _message("lost", cursor=cursor)
            continue
        return


def _message(name: str, data: str = "", cursor: str | None = None) -> str:
    return f"event: {name}\n" + (f"id: {cursor}\n" if cursor else "") + f"data: {data}\n\n"
