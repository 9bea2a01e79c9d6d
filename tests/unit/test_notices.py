"""The outbox of notices: few signals, in order, and what is lost is lost with a line in the log."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.service import RPCError, RPCStatusCode

from activities import notices
from activities.notices import MAX_PER_SIGNAL, TRIES, NoticeOutbox
from autopay.domain.backoff import Backoff
from autopay.domain.payment.notice import Announcement, Notice
from autopay.domain.request import RequestStatus

SOON = timedelta(milliseconds=5)
LONG = timedelta(minutes=5)


class PlayedTemporal:
    """Takes signals; fails with each of `errors` first."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.tries = 0
        self.signals: list[tuple[str, list[str]]] = []
        self.hang: asyncio.Event | None = None

    def get_workflow_handle(self, workflow_id: str) -> "PlayedHandle":
        return PlayedHandle(self, workflow_id)


class PlayedHandle:
    def __init__(self, temporal: PlayedTemporal, workflow_id: str) -> None:
        self.temporal, self.workflow_id = temporal, workflow_id

    async def signal(self, name: str, batch: list[Notice], *, rpc_timeout: timedelta) -> None:
        assert (name, rpc_timeout > timedelta(0)) == ("notices", True)
        self.temporal.tries += 1
        if self.temporal.hang is not None:
            await self.temporal.hang.wait()
        if self.temporal.errors:
            raise self.temporal.errors.pop(0)
        self.temporal.signals.append((self.workflow_id, [notice.request_id for notice in batch]))


def outbox_of(soon: timedelta = SOON, later: timedelta = LONG, between: timedelta = timedelta(0)) -> NoticeOutbox:
    return NoticeOutbox(soon, later, between)


def put_settled(outbox: NoticeOutbox, temporal: PlayedTemporal, request_id: str) -> None:
    client: Any = temporal
    notice = Notice(request_id=request_id, status=RequestStatus.DELIVERED, final=True)
    outbox.put(client, Announcement(agent="buyer", notice=notice))


def put(outbox: NoticeOutbox, temporal: PlayedTemporal, *request_ids: str, agent: str = "buyer") -> None:
    client: Any = temporal
    for request_id in request_ids:
        notice = Notice(request_id=request_id, status=RequestStatus.FREE, final=True)
        outbox.put(client, Announcement(agent=agent, notice=notice))


async def sent(outbox: NoticeOutbox) -> None:
    """Until nothing is on its way."""
    while outbox._sending:
        await asyncio.wait(outbox._sending.values())


@pytest.fixture(autouse=True)
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between tries take no time."""
    monkeypatch.setattr(notices, "RETRY", Backoff(timedelta(0), timedelta(0)))


def away(status: RPCStatusCode = RPCStatusCode.UNAVAILABLE) -> RPCError:
    return RPCError("no", status, b"")


async def test_what_comes_within_a_moment_is_one_signal_in_its_order() -> None:
    outbox, temporal = outbox_of(LONG), PlayedTemporal()
    put(outbox, temporal, "a", "b")
    await asyncio.sleep(0)  # it begins to wait
    put(outbox, temporal, "c")
    await asyncio.sleep(5 * SOON.total_seconds())
    assert temporal.signals == []
    await outbox.close()
    assert temporal.signals == [("agent/buyer", ["a", "b", "c"])]


async def test_after_a_signal_the_next_notice_is_one_of_its_own() -> None:
    outbox, temporal = outbox_of(), PlayedTemporal()
    for request_id in ("a", "b"):
        put(outbox, temporal, request_id)
        await sent(outbox)
    assert temporal.signals == [("agent/buyer", ["a"]), ("agent/buyer", ["b"])]


async def test_what_only_says_that_a_payment_has_settled_waits_longer_and_goes_with_what_is_sent_sooner() -> None:
    outbox, temporal = outbox_of(), PlayedTemporal()
    put_settled(outbox, temporal, "settled")
    await asyncio.sleep(5 * SOON.total_seconds())
    assert temporal.signals == []
    put(outbox, temporal, "answered")
    await sent(outbox)
    assert temporal.signals == [("agent/buyer", ["settled", "answered"])]


async def test_what_only_says_that_a_payment_has_settled_is_sent_in_the_end() -> None:
    outbox, temporal = outbox_of(LONG, later=SOON), PlayedTemporal()
    put_settled(outbox, temporal, "settled")
    await sent(outbox)
    assert temporal.signals == [("agent/buyer", ["settled"])]


async def test_between_two_signals_to_one_agent_some_time_passes_in_which_more_is_gathered() -> None:
    outbox, temporal = outbox_of(between=LONG), PlayedTemporal()
    put(outbox, temporal, "first")
    await sent(outbox)
    put(outbox, temporal, "second")
    await asyncio.sleep(5 * SOON.total_seconds())
    assert len(temporal.signals) == 1
    put(outbox, temporal, "third")
    await outbox.close()
    assert temporal.signals[1:] == [("agent/buyer", ["second", "third"])]


async def test_more_than_a_signal_holds_are_several() -> None:
    outbox, temporal = outbox_of(), PlayedTemporal()
    ids = [f"r{number}" for number in range(MAX_PER_SIGNAL + 3)]
    put(outbox, temporal, *ids)
    await sent(outbox)
    assert [len(batch) for _, batch in temporal.signals] == [MAX_PER_SIGNAL, 3]
    assert [request_id for _, batch in temporal.signals for request_id in batch] == ids


async def test_each_agent_gets_its_own_and_waits_for_no_other() -> None:
    outbox, hangs, temporal = outbox_of(), PlayedTemporal(), PlayedTemporal()
    hangs.hang = asyncio.Event()
    put(outbox, hangs, "a", agent="hangs")
    put(outbox, temporal, "b", agent="well")
    await outbox._sending["well"]
    assert temporal.signals == [("agent/well", ["b"])]
    hangs.hang.set()
    await sent(outbox)
    assert hangs.signals == [("agent/hangs", ["a"])]


async def test_while_a_signal_is_on_its_way_the_next_gathers() -> None:
    outbox, temporal = outbox_of(), PlayedTemporal()
    temporal.hang = asyncio.Event()
    put(outbox, temporal, "a")
    while temporal.tries == 0:  # noqa: ASYNC110 (the outbox's own pause is what passes)
        await asyncio.sleep(0.001)
    put(outbox, temporal, "b", "c")
    temporal.hang.set()
    await sent(outbox)
    assert temporal.signals == [("agent/buyer", ["a"]), ("agent/buyer", ["b", "c"])]


async def test_when_temporal_is_away_for_a_moment_nothing_is_lost() -> None:
    outbox, temporal = outbox_of(), PlayedTemporal(away(), away(RPCStatusCode.DEADLINE_EXCEEDED))
    put(outbox, temporal, "a")
    await sent(outbox)
    assert temporal.signals == [("agent/buyer", ["a"])]


@pytest.mark.parametrize(
    ("errors", "tries", "line"),
    [
        pytest.param([away()] * TRIES, TRIES, "notices are dropped: the agent reads the ledger", id="away"),
        pytest.param([away(RPCStatusCode.NOT_FOUND)], 1, "notices are dropped: the agent is not running", id="gone"),
        pytest.param([ValueError()], 1, "notices are dropped: the agent reads the ledger", id="cannot be sent"),
    ],
)
async def test_what_cannot_be_told_is_dropped_with_a_line_and_the_next_is_told(
    errors: list[Exception], tries: int, line: str
) -> None:
    outbox, temporal = outbox_of(), PlayedTemporal(*errors)
    with capture_logs() as logged:
        put(outbox, temporal, "a", "b")
        await sent(outbox)
    assert temporal.tries == tries
    assert [(each["event"], each["agent"], each["notices"]) for each in logged] == [(line, "buyer", 2)]
    put(outbox, temporal, "c")
    await sent(outbox)
    assert temporal.signals == [("agent/buyer", ["c"])]


async def test_a_worker_that_stops_sends_what_waits_without_waiting_for_more() -> None:
    outbox, temporal = outbox_of(LONG), PlayedTemporal()
    put(outbox, temporal, "a")
    put(outbox, temporal, "b", agent="other")
    async with asyncio.timeout(5):
        await outbox.close()
    assert sorted(temporal.signals) == [("agent/buyer", ["a"]), ("agent/other", ["b"])]


async def test_a_worker_that_stops_while_temporal_is_away_tries_once() -> None:
    outbox, temporal = outbox_of(LONG), PlayedTemporal(*[away()] * TRIES)
    put(outbox, temporal, "a")
    async with asyncio.timeout(5):
        await outbox.close()
    assert (temporal.tries, temporal.signals) == (1, [])
