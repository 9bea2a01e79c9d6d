"""What a run tells of its request: the result for its caller, the notice for its agent, the reasons in words. Pure."""

from autopay.domain.money import price_text
from autopay.domain.payment.notice import Notice
from autopay.domain.payment.payment import Dead, Payment
from autopay.domain.payment.steps import PaidBefore, PaymentOrder, SignedAttempt
from autopay.domain.policy.policy import Awaiting
from autopay.domain.request import RequestError, RequestResult, RequestStatus, payment_workflow_id

MAX_MESSAGE_CHARS = 400
"""Characters of a message that travels in results and notices: it may quote a seller."""


def result_of(
    order: PaymentOrder,
    payment: Payment,
    signed: SignedAttempt | None,
    status: RequestStatus,
    error: str | None = None,
    message: str = "",
) -> RequestResult:
    """The request as it stands; price and payee are of a payment that is not proven dead."""
    last = payment.last
    signed = signed if last is not None and not isinstance(last.outcome, Dead) else None
    return RequestResult(
        request_id=order.request_id,
        status=status,
        http_status=payment.http_status,
        price_atomic=signed.amount_atomic if signed else None,
        currency=signed.currency if signed else None,
        transaction=last.signature if last else None,
        pay_to=signed.pay_to if signed else None,
        attempts=len(payment.attempts),
        workflow_id=payment_workflow_id(order.agent, order.request_id),
        content_complete=payment.content.complete,
        content_encoding=payment.content.encoding,
        content_location=payment.content.location,
        error=RequestError(type=error, message=message[:MAX_MESSAGE_CHARS]) if error else None,
    )


def paid_before_result(order: PaymentOrder, payment: Payment, paid: PaidBefore) -> RequestResult:
    """The end of a request whose payment a restored ledger had forgotten."""
    message = "a payment that a restored ledger had forgotten was this request's: it is not paid again"
    result = result_of(order, payment, None, RequestStatus.UNDELIVERED, "paid_before_restore", message)
    known = {"price_atomic": paid.amount_atomic, "currency": paid.currency, "transaction": paid.transaction}
    return result.model_copy(update=known)


def notice_of(result: RequestResult, *, final: bool) -> Notice:
    """What the agent is told of a request that was answered or, when `final`, has ended."""
    return Notice(
        request_id=result.request_id,
        status=result.status,
        final=final,
        currency=result.currency,
        amount_atomic=result.price_atomic or 0,
        transaction=result.transaction,
        http_status=result.http_status,
        error=result.error.type if result.error else None,
        message=result.error.message if result.error else None,
    )


def why_unpaid(payment: Payment) -> tuple[str, str]:
    """Type and message of a request that ends without content, and without having been paid."""
    proven = "it is proven that nothing was paid"
    if payment.conflict:
        return "seller_rejected", f"{last_answer_text(payment)}; {proven}"
    number = len(payment.attempts)
    return "payment_not_settled", f"{last_answer_text(payment)}; {number} attempt(s), none of which settled: {proven}"


def last_answer_text(payment: Payment) -> str:
    """The seller's last answer, in words."""
    return f"the seller answers HTTP {payment.http_status}" if payment.http_status else "no answer came"


def question_text(awaiting: Awaiting) -> str:
    """What a person is asked, in Markdown."""
    return (
        f"**waits for a person**: {price_text(awaiting)} to `{awaiting.pay_to}`: {awaiting.why}\n\n"
        f"until {awaiting.expires_at:%F %T} UTC; approve or deny `{awaiting.approval_id}`, terms "
        f"`{awaiting.terms_hash}`"
    )
