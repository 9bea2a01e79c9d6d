"""One chaos run from the first process to the verdict: launch, buy among faults, fair weather, wait, audit.

What must not live here: the parts of it, and what is printed.
"""

import asyncio
import contextlib
import hashlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from autopay.adapters.postgres import open_ledger
from autopay.adapters.vault import Keyring, Vault
from autopay.cli.launch.launch_order import LaunchOrder
from autopay.cli.launch.launch_steps import launch_agent
from autopay.domain.money import Currency, to_atomic
from autopay.domain.phase import Phase
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from autopay.temporal.connection import connect
from localnet.child import StackError
from localnet.stack import Stack
from tests.chaos.audit import Findings, audit
from tests.chaos.buyers import Buyers
from tests.chaos.havoc import Havoc
from tests.chaos.plan import AGENTS, Plan
from tests.chaos.progress import Progress
from tests.chaos.strangers import Strangers

ALLOWANCE = to_atomic("50")
TELL_S = 1
ROOT = Path(__file__).parents[2]
PRODUCT = ("activities", "autopay", "localnet", "workflows", "worker.py")


@dataclass(frozen=True)
class Conditions:
    """How a plan is run. `patience_s` is the longest wait between two faults, `liveness_s` from fair weather on, and
    `content_ask_s` for how long a payment asks for what has settled: some of the sellers here never give it again."""

    home: Path
    workers: int = 2
    slot_ms: int = 50
    patience_s: float = 4
    liveness_s: float = 300
    content_ask_s: float = 60


@dataclass
class Outcome:
    """What a run came to; `wrong` is what nobody can explain."""

    wrong: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    payments: int = 0
    spent_atomic: Counter[str] = field(default_factory=Counter)
    unpaid_deliveries: int = 0
    undelivered_though_known: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    weather: Counter[str] = field(default_factory=Counter)
    weather_missed: int = 0
    asked_again: Counter[str] = field(default_factory=Counter)
    own_deaths: Counter[str] = field(default_factory=Counter)
    unreadable: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    reconciled: Any = None


class Run:
    """A plan under conditions. `tell` gets one line about now, again and again."""

    def __init__(self, plan: Plan, conditions: Conditions, tell: Callable[[str], None] = lambda _: None) -> None:
        self.plan = plan
        self.conditions = conditions
        self.outcome = Outcome()
        self._tell = tell
        self._phase = "starting the stack"
        self._said: list[str] = []

    async def run(self) -> Outcome:
        """To the end; what goes wrong on the way is in the outcome, too."""
        at, code = self.conditions, _code()
        stack = Stack(at.home, slot_ms=at.slot_ms, workers=at.workers, ephemeral=True, report=self._said.append)
        with mock.patch.dict(os.environ, {"AUTOPAY_CONTENT_ASK_S": str(at.content_ask_s)}):  # for the workers
            async with self._timed("start"):
                addresses = await stack.start()
            try:
                await self._on(stack, addresses)
            finally:
                await stack.stop()
        if _code() != code:
            self.outcome.wrong.append("the code changed during the run: its workers replayed each other's histories")
        return self.outcome

    async def _on(self, stack: Stack, addresses: StackFile) -> None:
        settings = Settings.load(home=self.conditions.home).resolve()
        client = await connect(settings)
        vault = Vault(Keyring.parse(settings.keyring.get_secret_value()))
        async with self._timed("launch"):
            await self._launch(settings, vault)
        services = {
            "chain": addresses.solana_rpc,
            "facilitator": addresses.facilitator,
            "market": addresses.market_api,
            "knowledge": addresses.knowledge_api,
        }
        progress = Progress(addresses.database_url)
        havoc = Havoc(stack, services, progress, self.conditions.patience_s)
        buyers = Buyers(client, vault, services, progress)
        strangers = Strangers(client, self.plan)
        disturbing = asyncio.create_task(strangers.disturb())
        helpers = [asyncio.create_task(each) for each in (progress.follow(), self._report(progress, havoc))]
        try:
            ended = await self._storm_and_calm(stack, buyers, havoc, progress)
        except StackError as error:
            self.outcome.wrong.append(f"the stack cannot go on, so nothing was audited: {error}")
            return
        finally:
            self._count_faults(havoc, buyers)
            for helper in (disturbing, *helpers):
                helper.cancel()
            (disturbed, *_) = await asyncio.gather(disturbing, *helpers, return_exceptions=True)
            self.outcome.unreadable, self.outcome.wrong = strangers.sent, [*self.outcome.wrong, *strangers.taken]
            if not isinstance(disturbed, asyncio.CancelledError):
                self.outcome.wrong.append(f"nobody sent what cannot be read any more: {disturbed!r}")
        async with self._timed("audit"):
            findings = await audit(self.plan, buyers.refused, settings, client)
        if not ended:
            self.outcome.wrong.append(f"not everything was final {self.conditions.liveness_s:g} s after the faults")
        self._count(findings)

    async def _launch(self, settings: Settings, vault: Vault) -> None:
        client, ledger = await connect(settings), open_ledger(settings.database_url)
        for name in AGENTS:
            order = LaunchOrder(
                name=name,
                phase=Phase.FULL,
                currencies=tuple(Currency),
                allowance_atomic=ALLOWANCE,
                tx_limit=len(self.plan.purchases) * 3 + 10,
                duration_s=86_400,
            )
            await launch_agent(settings, ledger, client, vault, order)
        await ledger.dispose()

    async def _storm_and_calm(self, stack: Stack, buyers: Buyers, havoc: Havoc, progress: Progress) -> bool:
        """Whether all came to an end in time. A stack that cannot go on, or a client with a bug, ends the run."""
        buying = asyncio.create_task(buyers.buy(self.plan.purchases))
        lasting = asyncio.create_task(stack.run())
        try:
            async with self._timed("faults"):
                wreaking = asyncio.create_task(havoc.wreak(self.plan))
                await _first(wreaking, lasting)
                await havoc.clear()
            async with self._timed("calm"):
                settling = asyncio.create_task(self._settle(buying, buyers, progress))
                with contextlib.suppress(TimeoutError):
                    await _first(settling, lasting, timeout_s=self.conditions.liveness_s)
                return settling.done() and not settling.cancelled()
        finally:
            for task in (buying, lasting):
                task.cancel()
            await asyncio.gather(buying, lasting, return_exceptions=True)

    async def _settle(self, buying: "asyncio.Task[None]", buyers: Buyers, progress: Progress) -> None:
        """All is final; then every id is issued once more, which must buy nothing."""
        await asyncio.shield(buying)
        await progress.until_final()
        await buyers.buy(self.plan.purchases)
        await progress.until_final()

    @contextlib.asynccontextmanager
    async def _timed(self, phase: str) -> AsyncIterator[None]:
        self._phase, began = phase, time.monotonic()
        yield
        self.outcome.seconds[phase] = round(time.monotonic() - began, 1)

    async def _report(self, progress: Progress, havoc: Havoc) -> None:
        while True:
            self._tell(
                f"{self._phase}: {len(progress.ended)} of {len(self.plan.purchases)} requests ended, "
                f"{progress.unfinished} unfinished, {havoc.kills.total()} kills, {havoc.changes.total()} weathers"
            )
            await asyncio.sleep(TELL_S)

    def _count_faults(self, havoc: Havoc, buyers: Buyers) -> None:
        out = self.outcome
        out.kills, out.weather, out.weather_missed = havoc.kills, havoc.changes, havoc.missed
        out.asked_again = buyers.again
        out.own_deaths = Counter(each.partition(" ")[0] for each in self._said if " died (exit" in each)

    def _count(self, findings: Findings) -> None:
        out, books = self.outcome, findings.books
        out.wrong += findings.wrong
        out.requests = Counter(request.outcome or "open" for request in books.requests)
        out.reasons = Counter(request.error for request in books.requests if request.error)
        out.attempts = Counter(_status(attempt.status, attempt.error) for attempt in books.attempts)
        out.payments = sum(len(each) for each in findings.debits.values())
        for session in books.sessions:
            spent = sum(debit.amount_atomic for debit in findings.debits[session.account])
            out.spent_atomic[session.currency] += spent
        paid = {attempt.key for attempt in books.attempts if attempt.status == "VERIFIED"}
        out.unpaid_deliveries = sum(each.outcome == "delivered" and each.key not in paid for each in books.requests)
        out.undelivered_though_known = len(findings.known)
        out.reconciled = findings.reconciled


def _code() -> str:
    """A hash of the product's sources: a restarted worker loads what is there then."""
    found = hashlib.sha256()
    for part in PRODUCT:
        for file in sorted((ROOT / part).rglob("*.py")) or [ROOT / part]:
            found.update(file.read_bytes())
    return found.hexdigest()


def _status(status: str, error: str | None) -> str:
    return status if error is None else f"{status} {error}"


async def _first(work: "asyncio.Task[None]", lasting: "asyncio.Task[None]", timeout_s: float | None = None) -> None:
    """Wait for the work, unless the stack ends before.

    Raises:
        TimeoutError: neither happened in time.
        StackError: a part died too often.
    """
    done, _ = await asyncio.wait({work, lasting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    if work not in done:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        if not done:
            raise TimeoutError
    for task in done:
        task.result()


def as_json(plan: Plan, outcome: Outcome) -> Mapping[str, Any]:
    """The outcome as a program reads it."""
    return {
        "ok": not outcome.wrong,
        "seed": plan.seed,
        **{name: getattr(outcome, name) for name in Outcome.__dataclass_fields__},
    }
