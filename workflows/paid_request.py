"""`PaidRequest`: one request for paid data, from the plain question to money that is final. Runs once per request.

The loop asks `next_step`, does what it says and folds the result in; everything that could be lost is in the ledger
before the next step may act on it. fetch, parse, sign and verify are local activities; submit is scheduled by the
server, which commits the markers of the steps before it. A cancel never drops a payment that was signed.
"""

import asyncio
from datetime import timedelta
from typing import assert_never

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.fetch import Fetch
    from activities.log import Log
    from activities.parse import Parse
    from activities.sign import Sign as SignStep
    from activities.submit import Submit as SubmitStep
    from activities.verify import Verify
    from autopay.domain.agent import Notice, host_of
    from autopay.domain.money import show, to_units
    from autopay.domain.offer import Challenge, Offer, Reason, Refused
    from autopay.domain.payment import Done, NoAnswer, Payment, Resolve, Seen, Settled, Sign, Submit, Unknown, next_step
    from autopay.domain.request import RequestError, RequestResult, RequestStatus, agent_workflow_id
    from autopay.domain.steps import AttemptRef, Closing, Failed, Free, PayOrder, Signed, ToSign

from workflows import policies
from workflows.attributes import STATUS, payment_attributes


@workflow.defn(name="PaidRequest")
class PaidRequest:
    """Pays for one request, exactly once or not at all, and returns what became of it."""

    @workflow.run
    async def run(self, order: PayOrder) -> RequestResult:  # noqa: ARG002 - taken by __init__
        """Shields the payment: a cancel stops new attempts, and waits for the fate of what was signed."""
        paying = asyncio.create_task(self._pay())
        while True:
            try:
                return await asyncio.shield(paying)
            except asyncio.CancelledError:
                self.canceled = True
                if paying.done():
                    raise

    async def _pay(self) -> RequestResult:
        await self._recall()
        while self.result is None:
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self.order)
            step = next_step(self.payment)
            match step:
                case Sign(number=number):
                    await self._fetch_parse_sign(number)
                case Submit():
                    await self._submit(step)
                case Resolve():
                    await self._resolve(step)
                case Done():
                    self._finish(step)
                case _:
                    assert_never(step)
        return await self._log(self.result)

    @workflow.init
    def __init__(self, order: PayOrder) -> None:
        self.order = order
        self.payment = Payment()
        self.signed: Signed | None = None
        self.result: RequestResult | None = None
        self.canceled = False
        self.announced: set[bool] = set()
        self.chain_away = policies.CHAIN_AWAY_FIRST
        self.closed_before = False

    # The steps

    async def _recall(self) -> None:
        recalled = await workflow.execute_local_activity_method(
            Log.recall,
            self.order,
            start_to_close_timeout=policies.LEDGER_STEP,
            retry_policy=policies.LEDGER_RETRIES,
            summary="how the ledger knows this request",
        )
        self.payment, self.signed = recalled.payment, recalled.signed
        if recalled.closed is not None:
            self.result, self.closed_before = recalled.closed, True

    async def _fetch_parse_sign(self, number: int) -> None:
        if self.canceled:
            self._end(RequestStatus.REFUSED, Reason.CANCELED, "canceled before anything was paid")
            return
        offer = await self._offer()
        if offer is None:
            return
        price = show(offer.amount_atomic, offer.currency)
        self._show(f"{price} asked by `{offer.pay_to}`; signing attempt {number}")
        try:
            signed = await workflow.execute_local_activity_method(
                SignStep.sign,
                ToSign(order=self.order, number=number, offer=offer),
                start_to_close_timeout=policies.SIGN_STEP,
                schedule_to_close_timeout=policies.SIGN_TOTAL,
                retry_policy=policies.SIGN_RETRIES,
                summary=f"reserve and sign {price} for {host_of(self.order.url)}, attempt {number}",
            )
        except ActivityError as error:
            await self._recall()
            if len(self.payment.attempts) < number and self.result is None:
                self._end(RequestStatus.FAILED, *_cause(error))
            return
        if isinstance(signed, Refused):
            self._end(RequestStatus.REFUSED, signed.reason, signed.message)
            return
        self.signed = signed
        self.payment = self.payment.signed(number)
        workflow.upsert_search_attributes(payment_attributes("signed", signed))
        return

    async def _offer(self) -> Offer | None:
        """Fetch and parse; None when the request has ended here."""
        self._show(f"asking {host_of(self.order.url)}")
        try:
            fetched = await workflow.execute_local_activity_method(
                Fetch.fetch,
                self.order,
                start_to_close_timeout=policies.FETCH_STEP,
                retry_policy=policies.FETCH_RETRIES,
                summary=f"{self.order.method} {self.order.url}"[:200],
            )
        except ActivityError as error:
            self._end(RequestStatus.FAILED, *_cause(error))
            return None
        match fetched:
            case Free(http_status=status):
                self.payment = self.payment.model_copy(update={"http_status": status})
                self._end(RequestStatus.FREE)
                return None
            case Failed(type=kind, message=message, http_status=status):
                self.payment = self.payment.model_copy(update={"http_status": status})
                self._end(RequestStatus.FAILED, kind, message)
                return None
            case Refused(reason=reason, message=message):
                asked = None if reason == Reason.INSECURE_TRANSPORT else 402
                self.payment = self.payment.model_copy(update={"http_status": asked})
                self._end(RequestStatus.REFUSED, reason, message)
                return None
            case Challenge():
                self.payment = self.payment.model_copy(update={"http_status": 402})
        parsed = await workflow.execute_local_activity_method(
            Parse.parse,
            args=[self.order, fetched],
            start_to_close_timeout=policies.LEDGER_STEP,
            retry_policy=policies.LEDGER_RETRIES,
            summary=f"402: choose among {len(fetched.options)} ways to pay",
        )
        if isinstance(parsed, Refused):
            self._end(RequestStatus.REFUSED, parsed.reason, parsed.message)
            return None
        return parsed

    async def _submit(self, step: Submit) -> None:
        what = f"submit {self._price()} to {host_of(self.order.url)}, attempt {step.number}"
        again = f", sent again ({step.send})" if step.send > 1 else ""
        await self._wait(step.wait_ms, f"before sending the same bytes again ({step.send})")
        self._show(what + again)
        try:
            answer = await workflow.execute_activity_method(
                SubmitStep.submit,
                AttemptRef(order=self.order, number=step.number),
                start_to_close_timeout=policies.SUBMIT_STEP,
                heartbeat_timeout=policies.SUBMIT_HEARTBEAT,
                retry_policy=policies.SUBMIT_RETRIES,
                summary=what + again,
            )
        except ActivityError as error:
            answer = NoAnswer(reason=_cause(error)[0])
        self.payment = self.payment.answered(answer)
        if self.payment.delivered:
            workflow.upsert_search_attributes([STATUS.value_set("delivered")])
            await self._announce(final=False)

    async def _resolve(self, step: Resolve) -> None:
        await self._wait(step.wait_ms, "for the chain")
        try:
            verdict = await workflow.execute_local_activity_method(
                Verify.verify,
                AttemptRef(order=self.order, number=step.number),
                start_to_close_timeout=policies.VERIFY_STEP,
                retry_policy=policies.VERIFY_RETRIES,
                summary=f"look for {self._price()} on chain, attempt {step.number}",
            )
            self.chain_away = policies.CHAIN_AWAY_FIRST
        except ActivityError as error:
            wait_ms = int(self.chain_away.total_seconds() * 1000)
            self.chain_away = min(self.chain_away * 2, policies.CHAIN_AWAY_MOST)
            verdict = Unknown(reason=_cause(error)[0], retry_after_ms=wait_ms)
        self.payment = self.payment.judged(verdict)
        match verdict:
            case Seen():
                self._show(f"{self._price()} confirmed in `{verdict.settlement.signature}`, not yet final")
            case Settled():
                self._show(f"{self._price()} final in `{verdict.settlement.signature}`")
            case Unknown(reason=reason):
                self._show(f"{self._price()} unresolved: {reason}")

    async def _log(self, result: RequestResult) -> RequestResult:
        if not self.closed_before:
            await workflow.execute_local_activity_method(
                Log.log,
                Closing(order=self.order, result=result),
                start_to_close_timeout=policies.LEDGER_STEP,
                retry_policy=policies.LEDGER_RETRIES,
                summary=f"close as {result.status}",
            )
            settled = isinstance(self.payment.last.outcome, Settled) if self.payment.last else False
            status = "verified" if settled and result.status == RequestStatus.DELIVERED else result.status.value
            workflow.upsert_search_attributes([STATUS.value_set(status)])
        await self._announce(final=True)
        self._show(f"ended: **{result.status}**")
        return result

    # Ends

    def _finish(self, done: Done) -> None:
        match done.result:
            case "delivered" | "delivered_unpaid":
                self._end(RequestStatus.DELIVERED)
            case "undelivered":
                status = self.payment.http_status
                self._end(RequestStatus.UNDELIVERED, "paid_undelivered", f"paid, and the seller answers HTTP {status}")
            case "unpaid":
                assert self.payment.last is not None
                sends = f"{len(self.payment.attempts)} attempts, none of which settled"
                self._end(RequestStatus.FAILED, "payment_not_settled", f"the seller took no payment: {sends}")
            case _:
                assert_never(done.result)

    def _end(self, status: RequestStatus, error: str | None = None, message: str = "") -> None:
        self.result = self._as_result(status, RequestError(type=error, message=message) if error else None)

    def _as_result(self, status: RequestStatus, error: RequestError | None = None) -> RequestResult:
        last, signed = self.payment.last, self.signed
        paid = signed is not None and last is not None and last.signature is not None
        return RequestResult(
            request_id=self.order.request_id,
            status=status,
            http_status=self.payment.http_status,
            price=f"{to_units(signed.amount_atomic):f}" if signed else None,
            currency=signed.currency if signed else None,
            transaction=last.signature if last and paid else None,
            pay_to=signed.pay_to if signed else None,
            attempts=len(self.payment.attempts),
            workflow_id=workflow.info().workflow_id,
            error=error,
        )

    async def _announce(self, *, final: bool) -> None:
        """Tell the agent; it may have stopped long ago, and the ledger knows in any case."""
        if final in self.announced:
            return
        self.announced.add(final)
        result = self.result or self._as_result(RequestStatus.DELIVERED)
        owed = self.signed if self.payment.last and not _is_dead(self.payment) else None
        notice = Notice(
            request_id=self.order.request_id,
            status=result.status,
            final=final,
            currency=owed.currency if owed else None,
            amount_atomic=owed.amount_atomic if owed else 0,
            transaction=result.transaction,
            message=result.error.message if result.error else None,
        )
        handle = workflow.get_external_workflow_handle(agent_workflow_id(self.order.agent))
        try:
            await handle.signal("notice", notice)
        except ApplicationError as gone:
            workflow.logger.info("agent %s is not running: %s", self.order.agent, gone.message)

    # Small things

    async def _wait(self, wait_ms: int, why: str) -> None:
        if wait_ms > 0:
            await workflow.sleep(timedelta(milliseconds=wait_ms), summary=why)

    def _price(self) -> str:
        return show(self.signed.amount_atomic, self.signed.currency) if self.signed else "payment"

    def _show(self, now: str) -> None:
        """Current details of the Temporal UI, in Markdown."""
        attempts = "\n".join(
            f"| {attempt.number} | {attempt.sends} | {attempt.signature or '–'} | "
            f"{attempt.outcome.kind if attempt.outcome else 'seen' if attempt.seen else 'open'} |"
            for attempt in self.payment.attempts
        )
        table = f"\n\n| attempt | sent | transaction | state |\n|---|---|---|---|\n{attempts}" if attempts else ""
        workflow.set_current_details(f"{self.order.method} `{self.order.url}`\n\n{now}{table}")


def _is_dead(payment: Payment) -> bool:
    return payment.last is not None and payment.last.outcome is not None and payment.last.outcome.kind == "dead"


def _cause(error: ActivityError) -> tuple[str, str]:
    """The fault behind a failed step: its stable name in snake_case, and its message."""
    if is_cancelled_exception(error):
        raise error
    cause = error.cause
    if isinstance(cause, ApplicationError):
        name = cause.type or "fault"
        return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_"), cause.message
    return "step_timed_out", str(cause)[:200]
