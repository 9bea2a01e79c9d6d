"""/api/events: the ledger's changes as they happen, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from autopay.adapters.postgres.reports.events import parse_cursor
from autopay.adapters.postgres.reports.stream import LedgerStream, TooManyReaders
from autopay.api.filters import Agent, agent_of
from autopay.api.problems import problem
from autopay.api.readings.ledger import event_told
from autopay.api.services import ServicesNeeded
from autopay.client.errors import InvalidCall, Unreachable
from autopay.domain.errors import CursorLost

router = APIRouter(tags=["ledger"])

BEAT_S = 10.0
"""So often something is said when nothing happens, so that both ends notice a lost connection."""

RETRY_MS = 2_000
"""How soon a browser connects again."""

LONGEST_CURSOR = 40

After = Annotated[
    str | None,
    Query(
        max_length=LONGEST_CURSOR,
        description="Everything behind this cursor, then what is new; `0:0` is everything. Without it, what is new.",
        examples=["0:0"],
    ),
]
LastEventId = Annotated[
    str | None, Header(max_length=LONGEST_CURSOR, description="The same, as browsers send it when they connect again.")
]


class Start:
    """Where a stream begins, and for whom; `lost` when the place that a browser names is gone."""

    def __init__(self, cursor: str, agent: str | None, *, lost: bool) -> None:
        self.cursor = cursor
        self.agent = agent
        self.lost = lost


async def start_of(
    services: ServicesNeeded, agent: Agent = None, after: After = None, last_event_id: LastEventId = None
) -> AsyncIterator[Start]:
    """Where the stream begins; keeps its place among the readers until it ends.

    Raises:
        InvalidCall: not a cursor, or no agent.
        CursorLost: the ledger has no event at `after`.
        Unreachable: too many read already.
    """
    events = services.sources.ledger.events
    name = agent_of(agent)
    if name is not None:
        await services.sources.ledger.agents.get(name)
    given = last_event_id or after
    try:
        async with services.stream.place():
            if given is None:
                yield Start(await events.newest_cursor(), name, lost=False)
                return
            try:
                await events.require(given)
            except CursorLost:
                if not last_event_id:
                    raise
                yield Start(await events.newest_cursor(), name, lost=True)
                return
            yield Start(given, name, lost=False)
    except TooManyReaders:
        raise Unreachable("too many streams are open; close one, or try again", "too_many_streams") from None


def checked_cursors(after: After = None, last_event_id: LastEventId = None) -> None:
    """See that what is given are cursors.

    Raises:
        InvalidCall: one is none.
    """
    for name, text in (("after", after), ("Last-Event-ID", last_event_id)):
        if text:
            try:
                place = parse_cursor(text)
            except ValueError:
                raise InvalidCall(f"{name}: not a cursor, like 0:0", "wrong_cursor") from None
            if max(place) >= 2**63:
                raise InvalidCall(f"{name}: no event has this cursor", "wrong_cursor")


@router.get("/events", response_class=EventSourceResponse, dependencies=[Depends(checked_cursors)])
async def events(
    services: ServicesNeeded, start: Annotated[Start, Depends(start_of)]
) -> AsyncIterator[ServerSentEvent]:
    """Every change of the ledger as it is committed, as server-sent events; each one's `id` is its cursor.

    `Last-Event-ID` or `after` goes on behind a cursor, without a gap and without a repeat. An event named `lost` says
    that the ledger has no event there: it was restored from a backup; read everything anew. Outages of the database
    are waited for.
    """
    yield ServerSentEvent(comment="connected", retry=RETRY_MS)
    if start.lost:
        yield _lost(start.cursor)
    cursor = start.cursor
    while True:
        try:
            async for told in _messages(services.stream, cursor, start.agent):
                yield told
        except CursorLost:
            cursor = await services.sources.ledger.events.newest_cursor()
            yield _lost(cursor)
            continue
        return


async def _messages(stream: LedgerStream, cursor: str, agent: str | None) -> AsyncIterator[ServerSentEvent]:
    async for event in stream.read(cursor, agent, beat_s=BEAT_S):
        if event is None:
            yield ServerSentEvent(comment="still here")
        else:
            yield ServerSentEvent(data=event_told(event), id=event.cursor)


def _lost(newest: str) -> ServerSentEvent:
    told = problem(410, "cursor_lost", "the ledger was restored from a backup: read everything anew")
    return ServerSentEvent(event="lost", data=told.model_dump(mode="json", exclude_none=True), id=newest)
