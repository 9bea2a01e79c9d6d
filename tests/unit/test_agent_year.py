"""A year of an agent in virtual time: outages, pauses, prices that change, money that runs out, lost notices, new runs.

The world around the agent is small and deterministic (its seed is in the test's name), and keeps its own books.
"""

import heapq
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.state.counters import MAX_LAST_NOTICES
from autopay.domain.agent.state.durable_state import DurableState
from autopay.domain.agent.status import AgentState, Spendable
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.money import Currency
from autopay.domain.payment.notice import Notice
from autopay.domain.phase import Phase
from autopay.domain.request import RequestStatus
from tests.unit.agent_driver import START

YEAR = timedelta(days=365)
WATCHES = (
    Watch(name="quotes", url="https://a.example/quotes", every_s=3600, weight=2),
    Watch(name="news", url="https://b.example/news", every_s=7200),
    Watch(name="weather", url="https://b.example/weather", every_s=10_800),
    Watch(name="report", url="https://c.example/report", every_s=86_400, weight=5),
)
MONTHLY = 5_000_000
TROUBLES = ("a.example", "b.example", "c.example", "chain", "person")


@dataclass
class SimulatedWorld:
    """Sellers, a chain and a ledger, as far as an agent can tell."""

    chance: random.Random
    funds: int = MONTHLY
    prices: dict[str, int] = field(default_factory=lambda: {watch.url: 900 for watch in WATCHES})
    away: set[str] = field(default_factory=set)
    ended: dict[str, Notice] = field(default_factory=dict)
    open: dict[str, QueuedRequest] = field(default_factory=dict)
    bought: dict[str, list[datetime]] = field(default_factory=dict)
    spent: int = 0
    payments: int = 0
    starts: int = 0

    def begin(self, request: QueuedRequest, now: datetime) -> list[tuple[datetime, Notice]]:
        """A payment begins; when it says what."""
        assert request.request_id not in self.open, "started twice"
        assert request.request_id not in self.ended, "started again"
        self.starts += 1
        self.open[request.request_id] = request
        failed = Notice(
            request_id=request.request_id, status=RequestStatus.FAILED, final=True, error="seller_unavailable"
        )
        if request.url.split("/")[2] in self.away:
            return [(now + timedelta(seconds=5), failed)]
        price = self.prices[request.url]
        if "chain" in self.away or price > self.funds:
            reason = "chain_unavailable" if "chain" in self.away else "insufficient_funds"
            status = RequestStatus.FAILED if "chain" in self.away else RequestStatus.REFUSED
            return [(now + timedelta(seconds=5), failed.model_copy(update={"status": status, "error": reason}))]
        self.funds -= price
        paid = {"currency": Currency.USDC, "amount_atomic": price, "transaction": "s"}
        answer = failed.model_copy(update={"status": RequestStatus.DELIVERED, "error": None, "final": False} | paid)
        final = answer.model_copy(update={"final": True})
        return [(now + timedelta(seconds=1), answer), (now + timedelta(seconds=14), final)]

    def ends(self, notice: Notice, now: datetime) -> None:
        """The ledger writes down how it went; agents may miss the notice."""
        if notice.status == RequestStatus.DELIVERED and not notice.final:
            self.payments += 1
            self.spent += notice.amount_atomic
            self.bought.setdefault(self.open[notice.request_id].watch or "", []).append(now)
        if notice.final:
            self.ended[notice.request_id] = notice
            del self.open[notice.request_id]

    def happens(self, day: int) -> None:
        """What a new day brings."""
        if day % 30 == 0:
            self.funds += MONTHLY
        for trouble in TROUBLES:
            chance = self.chance.random()
            if trouble in self.away:
                self.away -= {trouble} if chance < 0.7 else set()
            elif chance < 0.03:
                self.away.add(trouble)
        if self.chance.random() < 0.1:
            self.prices[self.chance.choice(WATCHES).url] = self.chance.choice([0, 300, 900, 2_000, 20_000])


class SimulatedAgent:
    """Drives the state as the workflow does, event by event."""

    def __init__(self, seed: int) -> None:
        self.world = SimulatedWorld(random.Random(seed))  # noqa: S311 (a test's own chance)
        rules = Rules(thresholds={Currency.USDC: 20_000}, balance_every_s=3600)
        self.state = DurableState(spec=AgentSpec(name="year", phase=Phase.FULL, watches=WATCHES, rules=rules))
        self.now, self.day, self.turns, self.runs, self.sequence = START, 0, 0, 1, 0
        self.to_come: list[tuple[datetime, int, Notice]] = []
        self.largest = 0
        self.troubled: set[int] = set()

    def live(self, until: datetime) -> None:
        while self.now < until:
            self.turn()
            wake = self.state.next_wake(self.now)
            if self.to_come:
                wake = min(wake, self.to_come[0][0])
            self.now = max(wake, self.now + timedelta(milliseconds=200))
            while (self.now - START).days > self.day:
                self.new_day()
            while self.to_come and self.to_come[0][0] <= self.now:
                self.receive(heapq.heappop(self.to_come)[2])

    def turn(self) -> None:
        state, now, world = self.state, self.now, self.world
        self.turns += 1
        if world.away or state.balances.shortage is not None:
            self.troubled.add((now - START).days)
        if state.balances_are_due(now):
            if "chain" in world.away:
                state.record_balances_fault(now)
            else:
                reading = Spendable(
                    currency=Currency.USDC,
                    balance_atomic=world.funds,
                    spendable_atomic=world.funds,
                    limit="balance",
                    account="account",
                )
                state.balances.begin_reading()
                state.record_balances([reading], now, now)
        if state.queue.ledger_check_is_due(now):
            state.queue.plan_ledger_check(now)
            for notice in [world.ended[key] for key in state.queue.in_flight if key in world.ended]:
                state.apply_notice(notice, now)
        for watch in state.due_watches(now):
            spec = watch.spec(state.schedule.plans[watch.name].due)
            score = state.score(spec, now)
            state.queue.add(
                QueuedRequest(request_id=spec.request_id, url=spec.url, score=score, queued_at=now, watch=watch.name)
            )
            state.schedule.record_request(watch, now)
        while (taken := state.begin_next(now)) is not None:
            for at, notice in world.begin(taken[0], now):
                self.sequence += 1
                heapq.heappush(self.to_come, (at, self.sequence, notice))

    def receive(self, notice: Notice) -> None:
        self.world.ends(notice, self.now)
        if self.world.chance.random() > 0.01:  # one in a hundred is lost
            self.state.apply_notice(notice, self.now)

    def new_day(self) -> None:
        self.day += 1
        self.world.happens(self.day)
        self.state.pause = "holidays" if "person" in self.world.away else None
        self.state.request_balances(self.now)
        carried = self.state.for_next_run().model_dump_json()
        self.largest = max(self.largest, len(carried))
        waiting = list(self.state.queue.waiting)
        self.state = DurableState.model_validate_json(carried)
        self.state.load_backlog(waiting, list(self.world.open.values()))
        self.runs += 1


@pytest.mark.parametrize("seed", [1])
def test_a_year_ends_with_every_purchase_accounted_for_and_a_small_state(seed: int) -> None:
    agent = SimulatedAgent(seed)
    agent.live(START + YEAR)
    world = agent.world
    world.away.clear()
    world.funds += MONTHLY
    agent.state.pause, agent.state.stopping = None, True
    agent.live(agent.now + timedelta(hours=1))
    state = agent.state

    assert state.is_finished()
    assert (state.counters.payments, state.counters.spent_atomic[Currency.USDC]) == (world.payments, world.spent)
    assert sum(state.counters.by_status.values()) == world.starts == len(world.ended)
    assert world.payments > 8_000
    assert world.funds >= 0

    for watch in WATCHES:
        times = world.bought[watch.name]
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
        assert min(gaps) >= watch.every_s, "never before it is stale"
        for earlier, later in pairwise(times):
            days = range((earlier - START).days, (later - START).days + 1)
            late = (later - earlier).total_seconds() > watch.every_s + 60
            assert not late or not agent.troubled.isdisjoint(days), "kept fresh but for troubles"

    assert 20 < len(agent.troubled) < 300
    assert agent.largest < 10_000, "bytes that a run carries to the next"
    assert len(state.counters.last) == MAX_LAST_NOTICES
    assert (state.queue.in_flight, state.queue.answered, state.queue.held) == ({}, set(), {})
    assert state.state == AgentState.STOPPING
    assert agent.runs == 366
    assert agent.turns < 12 * world.starts, "it sleeps until there is something to do"
