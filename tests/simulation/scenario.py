"""One seed's world and its story: which faults, how often, which shops, agents, requests; then run it and audit it."""

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import structlog

from autopay.domain.errors import LedgerUnavailable
from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.policy.policy import Decision, Policy
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.request import RequestSpec, x402_request_id
from autopay.domain.text.hosts import origin_text
from tests.simulation.auditor import audit
from tests.simulation.product import Activities
from tests.simulation.shell import Shell
from tests.world.behaviours import BEHAVIOURS
from tests.world.clock import NothingLeft, now_ms, run_virtually, sleep_ms
from tests.world.rows import SessionEntry
from tests.world.shop import NETWORK, Shop, address
from tests.world.world import World

RATES = {
    "crash.before": 0.005,
    "crash.after": 0.005,
    "crash.zombie": 0.3,
    "step.timed_out": 0.01,
    "step.given_up": 0.01,
    "history.committed_early": 0.1,
    "run.continued_as_new": 0.02,
    "ledger.away_before_commit": 0.02,
    "ledger.away_after_commit": 0.02,
    "ledger.outage_after_commit": 0.002,
    "chain.unavailable": 0.02,
    "chain.lagging": 0.02,
    "chain.forgetful": 0.01,
    "chain.lying": 0.01,
    "chain.unindexed": 0.01,
    "chain.ignores_min_slot": 0.01,
    "chain.odd_answer": 0.03,
    "chain.stale_blockhash": 0.1,
    "chain.memo_not_kept": 0.05,
    "chain.status_without_content": 0.02,
    "chain.lands_with_error": 0.1,
    "ask.lost": 0.05,
    "ask.overloaded": 0.05,
    "ask.not_found": 0.01,
    "ask.free": 0.01,
    "ask.malformed": 0.01,
    "ask.new_price": 0.05,
    "request.canceled": 0.08,
    "request.terminated": 0.08,
    "request.run_twice": 0.05,
    "account.owner_moves_money": 0.1,
    "message.foreign_decision": 0.5,
    "message.wakes": 0.05,
}
"""How often each fault happens where it may, on average; every seed takes some of them, more or less often."""

FIRST_RUNS = 0.8
"""Of the requests are started as their agent does, with what it has recorded; the others as adoption does."""

ROUNDING_SHARE = 0.2
"""Of the worlds' nodes round numbers beyond 64 bits, which no quiet ends."""

SETTLE_MS = 240_000
"""Longer than any blockhash lives: what is still on its way has landed or died."""

PATIENCE_MS = 10_800_000
"""A request must end within this time after the last fault."""


@dataclass
class Report:
    """What became of one seed."""

    seed: int
    violations: list[str] = field(default_factory=list)
    payments: int = 0
    attempts: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    virtual_s: float = 0.0
    digest: str = ""
    story: list[str] = field(default_factory=list)


def simulate(seed: int, payments: int = 6, *, keep_story: bool = False, calm: bool = False) -> Report:
    """One seed, from its first draw to its audit; in a `calm` world nothing goes wrong, and nobody is
    too poor to pay what was signed."""
    report = Report(seed)
    try:
        with _without_log_lines():
            run_virtually(_Scenario(seed, payments, report, keep_story, calm).run())
    except NothingLeft:
        report.violations.append("everything waits, and nothing will ever happen again")
    return report


@contextmanager
def _without_log_lines() -> Iterator[None]:
    """Nothing that the product logs is written: thousands of worlds would each tell of each of their payments."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


class _Scenario:
    def __init__(self, seed: int, payments: int, report: Report, keep_story: bool, calm: bool) -> None:
        self.rng = Random(seed)  # noqa: S311
        self.payments = payments
        self.report = report
        self.keep_story = keep_story
        self.calm = calm

    async def run(self) -> None:
        world = World(
            self._shops(),
            rng=self.rng,
            rates=self._rates(),
            quiet_at_ms=self.rng.choice((60_000, 150_000, 300_000, 900_000)),
            skip_rate=self.rng.choice((0.0, 0.05, 0.3)),
        )
        sessions = self._agents(world)
        self._policies(world)
        await sleep_ms(self.rng.randint(100_000, 200_000))  # a past to forget, in which the owner approved
        world.faults.quiet_at_ms += now_ms()
        if world.faults.rates and self.rng.random() < ROUNDING_SHARE:
            world.node.rounds_numbers = True
            world.faults.note("chain.rounds_numbers")
        shells = await self._accepted(world, sessions)
        people = (self._owner(world, sessions), self._person(world), self._stranger(world))
        others = [asyncio.create_task(each) for each in people]
        running = [asyncio.create_task(self._run_request(world, each)) for each in shells]
        await asyncio.wait(running, timeout=(world.faults.quiet_at_ms - now_ms() + PATIENCE_MS) / 1000)
        for task in others:
            task.cancel()
        for task, shell in zip(running, shells, strict=True):
            if not task.done():
                self.report.violations.append(f"{shell.order.request_key} has not ended")
            elif (error := task.exception()) is not None:
                self.report.violations.append(f"{shell.order.request_key}: {type(error).__name__}: {error}")
            self.report.violations += shell.mistakes
        await sleep_ms(SETTLE_MS)
        self._finish(world)

    # What a seed chooses

    def _rates(self) -> dict[str, float]:
        """Some faults, some of them more often than usual: what all seeds did a little of, few would do enough of."""
        calm = self.rng.random() < 0.03 or self.calm
        rates = {kind: self._rate(rate) for kind, rate in RATES.items()}
        habits = self.rng.sample(sorted(BEHAVIOURS), self.rng.randint(1, 6))
        total = self.rng.choice((0.2, 0.6, 0.9))
        rates |= {f"seller.{habit}": total / len(habits) for habit in habits}
        return {} if calm else rates

    def _rate(self, usual: float) -> float:
        return min(1.0, usual * self.rng.choice((0, 0, 0.3, 1, 1, 3)))

    def _shops(self) -> list[Shop]:
        return [
            Shop(
                host=f"shop{number}.example",
                price_atomic=self.rng.choice((1_000, 1_000, 2_500)),
                version=self.rng.choice((1, 2)),
                memo=self.rng.choice((None, None, f"order {number}")),
                identifier=self.rng.random() < 0.5,
                strict=self.rng.random() < 0.3,
                redelivers=self.rng.random() < 0.6,
            )
            for number in range(self.rng.randint(1, 3))
        ]

    def _agents(self, world: World) -> list[SessionEntry]:
        def launched(number: int) -> SessionEntry:
            balance = self.rng.choice((3_000, *[50_000] * 10))
            return world.launch(
                f"agent{number}",
                balance=50_000 if self.calm else balance,
                allowance=self.rng.choice((2_500, 5_000, *[40_000] * 10)),
                tx_limit=self.rng.choice((2, 3, *[50] * 10)),
                duration_ms=self.rng.choice((200_000, *[3_600_000] * 10)),
            )

        return [launched(number) for number in range(self.rng.randint(1, 2))]

    async def _accepted(self, world: World, sessions: list[SessionEntry]) -> list[Shell]:
        activities = Activities.over(world)
        hosts = sorted(world.seller.tills)
        shells = []
        for number in range(self.payments):
            agent = self.rng.choice(sessions).agent
            spec = RequestSpec(
                request_id=f"request{number}",
                url=f"https://{self.rng.choice(hosts)}/data",
                max_price_atomic=self.rng.choice((*[None] * 10, 1_200)),
            )
            await _insist(world, agent, spec)
            key = x402_request_id(agent, spec.request_id)
            accepted = spec if self.rng.random() < FIRST_RUNS else None
            order = PaymentOrder(
                agent=agent, request_id=spec.request_id, request_key=key, url=spec.url, accepted=accepted
            )
            shells.append(Shell(world, activities, order))
        return shells

    # What happens

    async def _run_request(self, world: World, shell: Shell) -> None:
        await sleep_ms(self.rng.choice((0, 500, self.rng.randint(0, 60_000))))
        loop = asyncio.get_running_loop()
        if world.faults.strikes("request.canceled"):
            loop.call_later(self._soon_s(), shell.cancel)
        if world.faults.strikes("request.terminated"):
            loop.call_later(self._soon_s(), shell.terminate)
        runs: list[Coroutine[Any, Any, object]] = [shell.run()]
        if world.faults.strikes("request.run_twice"):
            twin = Shell(world, Activities.over(world), shell.order, "twin")
            twin.mistakes = shell.mistakes
            shell.disturbed = twin.disturbed = True
            runs.append(self._later(twin))
        await asyncio.gather(*runs)

    async def _later(self, shell: Shell) -> None:
        await sleep_ms(self._soon_s() * 1000)
        await shell.run()

    def _soon_s(self) -> float:
        return self.rng.choice((0.1, 1, 5, 60, 120)) * self.rng.random()

    async def _owner(self, world: World, sessions: list[SessionEntry]) -> None:
        """The owner's own transfers, which lower no allowance."""
        while not world.faults.quiet:
            await sleep_ms(self.rng.randint(1_000, 30_000))
            if world.faults.strikes("account.owner_moves_money"):
                source = self.rng.choice(sessions).key.source_account
                world.chain.owner_moves(source, self.rng.choice((-50_000, -2_000, 1_000, 60_000)))
        world.trace.add("calm")

    def _policies(self, world: World) -> None:
        """What the people behind the agents allow."""
        rows = world.ledger.store
        rows.policy = Policy(
            per_agent_day_atomic=self.rng.choice((3_000, 5_000, *[None] * 8)),
            per_host_day_atomic=self.rng.choice((2_500, *[None] * 8)),
            price_factor=self.rng.choice((Decimal(1), Decimal(3), None)),
            auto_approve_atomic=self.rng.choice((0, 1_000)),
            approval_expires_s=self.rng.choice((60, 600, 7_200)),
        )
        for shop in world.seller.tills if self.rng.random() < 0.7 else ():
            origin = origin_text(f"https://{shop}/")
            for number in (0, 1):
                world.ledger.policies.remember_payee(NETWORK, origin, address(f"{shop}/payee{number}"), "a person")
        for name, agent in rows.agents.items():
            phase = "INTERACTIVE" if self.rng.random() < 0.3 else "FULL"
            rows.agents[name] = agent.model_copy(update={"phase": phase})

    async def _person(self, world: World) -> None:
        """Somebody who answers what agents ask, mostly with yes, sometimes never."""
        ignored: set[UUID] = set()
        while True:
            await sleep_ms(self.rng.choice((500, 5_000, 40_000)))
            for entry in list(world.ledger.store.approvals):
                if entry.status is not ApprovalStatus.PENDING or entry.approval_id in ignored:
                    continue
                if self.rng.random() < 0.1:
                    ignored.add(entry.approval_id)
                    continue
                word = Decision(
                    approval_id=entry.approval_id,
                    terms_hash=entry.terms.hash(),
                    approve=self.rng.random() < 0.85,
                )
                facts = entry.terms.model_dump(mode="json")
                world.trace.add("said", request=entry.request_key, approve=word.approve, terms=facts)
                with suppress(LedgerUnavailable):
                    await world.ledger.policies.decide(word)

    async def _stranger(self, world: World) -> None:
        """Somebody whose decisions are about other questions or other terms than those that anybody was asked about."""
        while not world.faults.quiet:
            await sleep_ms(self.rng.randint(1_000, 30_000))
            if world.faults.strikes("message.foreign_decision"):
                asked = self.rng.choice(world.ledger.store.approvals or [None])
                known = asked is not None and self.rng.random() < 0.7
                foreign = Decision(
                    approval_id=asked.approval_id if asked and known else UUID(int=self.rng.getrandbits(128)),
                    terms_hash=asked.terms.hash() if asked and not known else "of other terms",
                    approve=self.rng.random() < 0.8,
                )
                with suppress(LedgerUnavailable):
                    await world.ledger.policies.decide(foreign)

    def _finish(self, world: World) -> None:
        report, rows = self.report, world.ledger.store
        report.violations += audit(world.chain, world.trace, rows)
        report.payments = len(rows.requests)
        report.attempts = len(rows.attempts)
        report.statuses.update(each.status.value for each in rows.attempts.values())
        report.outcomes.update(each.result.status.value if each.result else "open" for each in rows.requests.values())
        report.faults = world.faults.counts
        report.virtual_s = now_ms() / 1000
        report.digest = world.trace.digest()
        if self.keep_story:
            report.story = [str(event) for event in world.trace.events]


async def _insist(world: World, agent: str, spec: RequestSpec) -> None:
    """Accept the request, however often it takes: its caller does so too."""
    while True:
        try:
            await world.ledger.requests.accept(agent, spec, 1.0, 500)
        except LedgerUnavailable:
            await sleep_ms(500)
        else:
            return
