"""Implements `Steps` as Temporal would, with the real activities: results lost in a crash, steps run again, retries.

recall, fetch, parse, sign, verify, announce and log are local: their results are committed only at the next point that
the server schedules (submit, a timer), so a crash before it runs them all again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from temporalio.common import RetryPolicy
from temporalio.testing import ActivityEnvironment

from autopay.domain.errors import PermanentFault, TransientFault
from autopay.domain.payment.notice import Notice
from autopay.domain.payment.offer import Challenge
from autopay.domain.payment.payment import Payment, SellerAnswer, Verdict
from autopay.domain.payment.run import PaymentRun
from autopay.domain.payment.steps import (
    AttemptRef,
    FetchResult,
    LogInput,
    ParseResult,
    PaymentOrder,
    RecallResult,
    SignedAttempt,
    SignInput,
    SignResult,
    StepFailed,
)
from autopay.domain.policy.policy import Awaiting
from tests.simulation.journal import ContinuedAsNew, Journal, Outcome, WorkflowFailed
from tests.simulation.product import Activities
from tests.world.clock import moment, now_ms, sleep_ms
from tests.world.faults import Crashed, Faults, Process
from workflows import policies

T = TypeVar("T")

GIVEN_UP = ("fetch", "sign", "submit", "verify")
"""Steps with a limit to their retries: what they did by then may or may not have happened."""

MAX_LOOK_MS = 20_000
"""Between two looks whether a person has answered: there are hours of that, and a run that hears of it later is one of
many."""

ENVIRONMENT = ActivityEnvironment()


class TimedOut(TransientFault):
    """The server gave up waiting for an activity, which may still be running."""


class SimSteps:
    """The steps of one run in one process. `unexpected` is told of exceptions that are no faults, `decided` knows
    whether a person has answered."""

    payment_run: PaymentRun

    def __init__(
        self,
        activities: Activities,
        journal: Journal,
        process: Process,
        faults: Faults,
        unexpected: Callable[[BaseException], None],
        decided: Callable[[UUID], bool],
    ) -> None:
        self._activities = activities
        self._journal = journal
        self._process = process
        self._faults = faults
        self._unexpected = unexpected
        self._decided = decided
        self._replayed = tuple(journal.committed)
        self._pending: list[Outcome] = []
        self._left_running: set[asyncio.Future[Any]] = set()
        self.begun = 0
        self.late_effects = False

    # The six steps, and what surrounds them

    async def recall(self, order: PaymentOrder) -> RecallResult:
        """Local; its failure is the workflow's."""
        return await self._or_fail(self._local("recall", self._activities.log.recall, order, policies.LEDGER_RETRIES))

    async def fetch(self, order: PaymentOrder) -> FetchResult:
        """Local."""
        return await self._local("fetch", self._activities.fetch.fetch, order, policies.FETCH_RETRIES)

    async def parse(self, order: PaymentOrder, challenge: Challenge) -> ParseResult:
        """Local."""

        async def parse(challenge: Challenge) -> ParseResult:
            return await self._activities.parse.parse(order, challenge)

        return await self._local("parse", parse, challenge, policies.PARSE_RETRIES, policies.SIGN_TOTAL)

    async def sign(self, to_sign: SignInput) -> SignResult:
        """Local."""
        sign = self._activities.sign.sign
        return await self._local("sign", sign, to_sign, policies.SIGN_RETRIES, policies.SIGN_TOTAL)

    async def submit(self, order: PaymentOrder, attempt: SignedAttempt, send: int, told: Notice) -> SellerAnswer:
        """Scheduled by the server: commits what came before, and survives the worker."""
        index = self._begin("submit")
        if index < len(self._replayed):
            answer: SellerAnswer = self._recorded(index, "submit")
            return answer
        self._commit()
        outcome = await self._tried(
            "submit",
            self._submit_once,
            AttemptRef(order=order, number=attempt.number, notice=told),
            policies.SUBMIT_RETRIES,
            None,
        )
        self._process.check()
        self._pending.append(outcome)
        self._commit()
        self._journal.submit_tries = 0
        result: SellerAnswer = outcome.get()
        return result

    async def _submit_once(self, ref: AttemptRef) -> SellerAnswer:
        return await ENVIRONMENT.run(self._activities.submit.submit, ref)

    async def verify(self, order: PaymentOrder, attempt: SignedAttempt, *, closing: bool) -> Verdict:
        """Local."""
        ref = AttemptRef(order=order, number=attempt.number, closing=closing)
        return await self._local("verify", self._activities.verify.verify, ref, policies.VERIFY_RETRIES)

    async def log(self, closing: LogInput) -> None:
        """Local; its failure is the workflow's."""
        await self._or_fail(self._local("log", self._activities.log.log, closing, policies.LEDGER_RETRIES))

    async def wait(self, wait_ms: int, why: str) -> None:
        """A durable timer: a crash does not restart it. Sometimes the run continues as new instead."""
        index = self._begin("wait")
        if index < len(self._replayed):
            self._recorded(index, "wait")
            return
        self._commit()
        if index not in self._journal.timers and self._faults.strikes("run.continued_as_new"):
            raise ContinuedAsNew
        due_ms = self._journal.timers.setdefault(index, now_ms() + wait_ms)
        await sleep_ms(max(0, due_ms - now_ms()))
        self._done(Outcome("wait"))

    async def wait_for_approval(self, awaiting: Awaiting) -> None:
        """A durable wait for a person's word, for a cancel, or for the question to expire."""
        index = self._begin("person")
        if index < len(self._replayed):
            self._recorded(index, "person")
            return
        self._commit()
        look_ms = 500
        while moment(now_ms()) <= awaiting.expires_at and not self._decided(awaiting.approval_id):
            await sleep_ms(look_ms)
            self._process.check()
            look_ms = min(2 * look_ms, MAX_LOOK_MS)
            if self.payment_run.canceled or self._journal.canceled_at is not None:
                break
            if self._faults.strikes("message.wakes"):  # a withdrawal, from whomever
                break
        self._done(Outcome("person"))

    async def announce(self, notice: Notice) -> None:
        """Local: a notice is handed to the worker's outbox, and commits nothing that came before it."""
        index = self._begin("announce")
        if index < len(self._replayed):
            self._recorded(index, "announce")
            return
        self._pending.append(Outcome("announce"))

    def show(self, now: str, payment: Payment) -> None:
        """For people only."""

    # History

    def _begin(self, kind: str) -> int:
        self._process.check()
        index = self.begun
        self.begun += 1
        canceled_at = self._journal.canceled_at
        heard = canceled_at is not None and not self._process.abandoned
        if kind == "sign" and index >= len(self._replayed):
            order = self.payment_run.order
            told = order.canceled or (heard and canceled_at is not None and index > canceled_at)
            self._faults.trace.add("signing", request=order.request_key, canceled=told)
        if heard and canceled_at is not None and index >= canceled_at:
            self.payment_run.canceled = True
        return index

    def _recorded(self, index: int, kind: str) -> Any:
        outcome = self._replayed[index]
        assert outcome.kind == kind, f"replayed {kind} where the history has {outcome.kind}"
        return outcome.get()

    def _commit(self) -> None:
        """Tell the server; a worker that it has given up is not heard."""
        if self._process.abandoned:
            raise Crashed(self._process.name)
        self._journal.committed += self._pending
        self._pending.clear()

    def _done(self, outcome: Outcome) -> None:
        self._process.check()
        self._pending.append(outcome)
        self._commit()

    # Activities

    async def _or_fail(self, step: Awaitable[T]) -> T:
        try:
            return await step
        except StepFailed as failed:
            raise WorkflowFailed(f"{failed.type}: {failed.message}") from None

    async def _local(
        self,
        kind: str,
        activity: Callable[[Any], Awaitable[T]],
        argument: object,
        retries: RetryPolicy,
        total: timedelta | None = None,
    ) -> T:
        index = self._begin(kind)
        if index < len(self._replayed):
            recorded: T = self._recorded(index, kind)
            return recorded
        outcome = await self._tried(kind, activity, argument, retries, total)
        self._process.check()
        self._pending.append(outcome)
        if self._faults.strikes("history.committed_early"):
            self._commit()
        result: T = outcome.get()
        return result

    async def _tried(
        self,
        kind: str,
        activity: Callable[[Any], Awaitable[Any]],
        argument: object,
        retries: RetryPolicy,
        total: timedelta | None,
    ) -> Outcome:
        """Once, or as often as the policy says."""
        began_ms, tries = now_ms(), self._journal.submit_tries if kind == "submit" else 0
        pause_s = retries.initial_interval.total_seconds()
        most_s = retries.maximum_interval.total_seconds() if retries.maximum_interval else 100 * pause_s
        while True:
            tries += 1
            if kind == "submit":
                self._journal.submit_tries = tries
                if tries > retries.maximum_attempts:
                    return Outcome(kind, failure=StepFailed("step_timed_out", "the worker died each time"))
            try:
                return self._heard(kind, await self._once(activity, argument))
            except PermanentFault as fault:
                return Outcome(kind, failure=_given_up(fault))
            except TransientFault as fault:
                waited = timedelta(milliseconds=now_ms() - began_ms) + timedelta(seconds=pause_s)
                spent = retries.maximum_attempts and tries >= retries.maximum_attempts
                if spent or (total is not None and waited > total):
                    return Outcome(kind, failure=_given_up(fault))
            await sleep_ms(pause_s * 1000)
            self._process.check()
            pause_s = min(pause_s * retries.backoff_coefficient, most_s)

    def _heard(self, kind: str, value: object) -> Outcome:
        if kind in GIVEN_UP and self._faults.strikes("step.given_up"):
            return Outcome(kind, failure=StepFailed("step_timed_out", "it took too long to hear of it"))
        return Outcome(kind, value)

    async def _once(self, activity: Callable[[Any], Awaitable[Any]], argument: object) -> Any:
        if not self._faults.strikes("step.timed_out"):
            return await activity(argument)
        self.late_effects = True
        running = asyncio.ensure_future(activity(argument))
        self._left_running.add(running)
        running.add_done_callback(self._left_running.discard)
        running.add_done_callback(self._note_end)
        await asyncio.wait({running}, timeout=self._faults.rng.choice((0.01, 0.3, 2, 10)))
        if running.done():
            return running.result()
        if self._faults.rng.random() < 0.5:
            running.cancel()
        raise TimedOut

    def _note_end(self, running: "asyncio.Future[Any]") -> None:
        if not running.cancelled() and (error := running.exception()) is not None:
            self._unexpected(error)


def _given_up(fault: Exception) -> StepFailed:
    name = type(fault).__name__
    return StepFailed("".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_"), str(fault))
