"""`DurableSteps`: how `PaymentRun`'s steps are done in a workflow: activities, timers and signals.

recall, fetch, parse, sign, verify and log are local activities; submit is scheduled by the server, which commits the
results of those before it, so that a crash in or after submit never runs them again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.fetch import FetchStep
    from activities.log import LogStep
    from activities.notices import AnnounceStep
    from activities.parse import ParseStep
    from activities.sign import SignStep
    from activities.submit import SubmitStep
    from activities.verify import VerifyStep
    from autopay.domain.errors import stable_name
    from autopay.domain.money import price_text
    from autopay.domain.payment.notice import Announcement, Notice
    from autopay.domain.payment.offer import Challenge
    from autopay.domain.payment.payment import Attempt, Content, Payment, SellerAnswer, Verdict
    from autopay.domain.payment.steps import (
        PAYMENT_RELEASE,
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
    from autopay.domain.request import agent_workflow_id
    from autopay.domain.text.hosts import host_of
    from autopay.temporal.attributes import STATUS, payment_attributes

from workflows import policies

SECOND = timedelta(seconds=1)


@contextmanager
def named_faults() -> Iterator[None]:
    """A step that is given up raises StepFailed with the fault's stable name."""
    try:
        yield
    except FailureError as error:
        raise _failed(error) from None


class DurableSteps:
    """Implements `Steps` with Temporal's activities, timers and signals; `release` is that of releases.py."""

    def __init__(self, order: PaymentOrder, release: int) -> None:
        self.order = order
        self._is_of_0_2 = release == 0
        self.host = host_of(order.url)
        self.awaiting: Awaiting | None = None
        self.decided = False
        self.withdrawn: set[str] = set()
        self._unshown: SignedAttempt | None = None
        self._shown: str | None = None
        self._has_looked = False

    async def recall(self, order: PaymentOrder) -> RecallResult:
        """How the ledger knows the request."""
        with named_faults():
            return await workflow.execute_local_activity_method(
                LogStep.recall,
                order,
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.LEDGER_RETRIES,
                summary="how the ledger knows this request",
            )

    async def fetch(self, order: PaymentOrder) -> FetchResult:
        """Step 1."""
        with named_faults():
            return await workflow.execute_local_activity_method(
                FetchStep.fetch,
                order,
                start_to_close_timeout=policies.FETCH_STEP,
                retry_policy=policies.FETCH_RETRIES,
                summary=f"{order.method} {order.url}"[:200],
            )

    async def parse(self, order: PaymentOrder, challenge: Challenge) -> ParseResult:
        """Step 2."""
        with named_faults():
            return await workflow.execute_local_activity_method(
                ParseStep.parse,
                args=[order, challenge],
                start_to_close_timeout=policies.SIGN_STEP,
                schedule_to_close_timeout=policies.SIGN_TOTAL,
                retry_policy=policies.PARSE_RETRIES,
            )

    async def sign(self, to_sign: SignInput) -> SignResult:
        """Step 3."""
        with named_faults():
            signed = await workflow.execute_local_activity_method(
                SignStep.sign,
                to_sign,
                start_to_close_timeout=policies.SIGN_STEP,
                schedule_to_close_timeout=policies.SIGN_TOTAL,
                retry_policy=policies.SIGN_RETRIES,
                summary=f"reserve and sign {price_text(to_sign.offer)} for {self.host}, attempt {to_sign.number}",
            )
        if isinstance(signed, SignedAttempt):
            self._unshown = signed
            if self._is_of_0_2:
                self.show_status("signed")
        return signed

    async def submit(self, order: PaymentOrder, attempt: SignedAttempt, send: int, told: Notice) -> SellerAnswer:
        """Step 4, which tells the agent as well; in a run of 0.2.0, a signal after it did."""
        again = f", sent again ({send})" if send > 1 else ""
        summary = f"submit {price_text(attempt)} to {self.host}, attempt {attempt.number}{again}"
        ref = AttemptRef(order=order.for_another_run(), number=attempt.number, notice=None if self._is_of_0_2 else told)
        answer = await self.hand_over(ref, summary)
        if not isinstance(answer, Content) or not self._is_of_0_2:
            return answer
        self.show_status("delivered")
        await self.announce(told.model_copy(update={"http_status": answer.http_status}))
        return answer.model_copy(update={"final_in_ms": 0})  # a newer worker's: an older one had not waited for it

    async def hand_over(self, ref: AttemptRef, summary: str) -> SellerAnswer:
        """Give the recorded bytes of an attempt to the seller; scheduled by the server."""
        with named_faults():
            return await workflow.execute_activity_method(
                SubmitStep.submit,
                ref,
                start_to_close_timeout=policies.SUBMIT_STEP,
                heartbeat_timeout=policies.SUBMIT_HEARTBEAT,
                retry_policy=policies.SUBMIT_RETRIES,
                summary=summary,
            )

    async def verify(self, order: PaymentOrder, attempt: SignedAttempt, *, closing: bool) -> Verdict:
        """Step 5: one question to the chain."""
        if not self._is_of_0_2:
            self._show_progress(closing)
        with named_faults():
            return await workflow.execute_local_activity_method(
                VerifyStep.verify,
                AttemptRef(order=order, number=attempt.number, closing=closing),
                start_to_close_timeout=policies.VERIFY_STEP,
                retry_policy=policies.VERIFY_RETRIES,
                summary=None if closing else f"look for {price_text(attempt)} on chain, attempt {attempt.number}",
            )

    async def log(self, closing: LogInput) -> None:
        """Step 6, which tells the agent as well; runs that began before it did send a signal after it."""
        by_signal = closing.notice if self._is_of_0_2 else None
        with named_faults():
            await workflow.execute_local_activity_method(
                LogStep.log,
                closing if by_signal is None else closing.model_copy(update={"notice": None}),
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.LEDGER_RETRIES,
            )
        if by_signal is not None:
            await self.announce(by_signal)

    async def wait(self, wait_ms: int, why: str) -> None:
        """A durable timer; the place to continue as new when an outage has made the history long."""
        if workflow.info().is_continue_as_new_suggested() and workflow.all_handlers_finished():
            newest = workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
            args = [self.order.for_another_run(), PAYMENT_RELEASE]
            workflow.continue_as_new(args=args, initial_versioning_behavior=newest)
        await workflow.sleep(timedelta(milliseconds=wait_ms), summary=why)

    async def wait_for_approval(self, awaiting: Awaiting) -> None:
        """Wait for an update `approve` or `deny`, for as long as the question is good and not withdrawn."""
        workflow.upsert_search_attributes([STATUS.value_set("awaiting_approval")])
        self.awaiting, self.decided = awaiting, False
        try:
            await workflow.wait_condition(
                lambda: self.decided or self.order.canceled or str(awaiting.approval_id) in self.withdrawn,
                timeout=max(awaiting.expires_at - workflow.now(), SECOND) + SECOND,
                timeout_summary=f"until a person decides, at most until {awaiting.expires_at:%F %T}",
            )
        except TimeoutError:
            return
        finally:
            self.awaiting = None

    async def announce(self, notice: Notice) -> None:
        """Tell the agent; it may have stopped long ago, and the ledger knows in any case."""
        if not self._is_of_0_2:
            await self._announce_by_outbox(notice)
            return
        handle = workflow.get_external_workflow_handle(agent_workflow_id(self.order.agent))
        try:
            await handle.signal("notice", notice)
        except ApplicationError as gone:
            workflow.logger.info("agent %s is not running: %s", self.order.agent, gone.message)

    async def _announce_by_outbox(self, notice: Notice) -> None:
        try:
            with named_faults():
                await workflow.execute_local_activity_method(
                    AnnounceStep.announce,
                    Announcement(agent=self.order.agent, notice=notice),
                    start_to_close_timeout=policies.ANNOUNCE_STEP,
                    retry_policy=policies.ANNOUNCE_RETRIES,
                    summary=f"tell agent {self.order.agent}: {notice.status}{', final' if notice.final else ''}",
                )
        except StepFailed as failed:
            workflow.logger.warning("agent %s is not told: %s", self.order.agent, failed.message)

    def _show_progress(self, closing: bool) -> None:
        """Show how far it is, if it is not answered at once, or not final when expected: people may look for it."""
        status = "delivered" if closing else "signed"
        if status != self._shown and (self._has_looked or not closing):
            self.show_status(status)
        self._has_looked = closing

    def show_status(self, status: str) -> None:
        """Where the request stands, as a search attribute; with the price, when that was not yet shown."""
        self._shown = status
        signed, self._unshown = self._unshown, None
        workflow.upsert_search_attributes(
            payment_attributes(status, signed) if signed is not None else [STATUS.value_set(status)]
        )

    def show(self, now: str, payment: Payment) -> None:
        """Current details of the Temporal UI, in Markdown."""
        rows = "\n".join(
            f"| {each.number} | {each.sends} | {each.signature or '–'} | {_state(each)} |" for each in payment.attempts
        )
        table = f"\n\n| attempt | sent | transaction | state |\n|---|---|---|---|\n{rows}" if rows else ""
        workflow.set_current_details(f"{self.order.method} `{self.order.url}`\n\n{now}{table}")


def _state(attempt: Attempt) -> str:
    return attempt.outcome.kind if attempt.outcome else "seen" if attempt.seen else "open"


def _failed(error: FailureError) -> StepFailed:
    """The fault behind a step that was given up, its name in snake_case as programs know it.

    A local activity's failure arrives as it was raised, a scheduled one's inside an ActivityError.
    """
    cause = error.cause if isinstance(error, ActivityError) else error
    if isinstance(cause, ApplicationError):
        return StepFailed(stable_name(cause.type or "fault"), cause.message)
    return StepFailed("step_timed_out", str(cause)[:200])
