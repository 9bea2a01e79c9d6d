"""What the workflow and its activities say to each other: small values, ids and hashes; never a body or a secret."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from autopay.domain.money import Currency
from autopay.domain.payment.offer import Challenge, Offer
from autopay.domain.payment.payment import Payment
from autopay.domain.policy.policy import Awaiting
from autopay.domain.refusal import Refused
from autopay.domain.request import Method, RequestResult
from autopay.domain.values import Value


class PaymentOrder(Value):
    """What a `PaidRequest` is started with; headers and body stay in the ledger. `canceled` begins with no more
    than closing it: nothing is signed, what was signed before is resolved. `breaker` is how the seller's stood."""

    agent: str
    request_id: str
    request_key: str
    url: str
    method: Method = "GET"
    canceled: bool = False
    breaker: str | None = None


class FreeContent(Value):
    """The seller answered without asking for money; the content is stored."""

    kind: Literal["free"] = "free"
    http_status: int


class FetchFailed(Value):
    """No content and no offer; `type` is a stable name, nothing was paid."""

    kind: Literal["failed"] = "failed"
    type: str
    message: str
    http_status: int | None = None


FetchResult = Annotated[FreeContent | FetchFailed | Challenge | Refused, Field(discriminator="kind")]
ParseResult = Annotated[Offer | Refused, Field(discriminator="kind")]


class SignedAttempt(Value):
    """An attempt that the ledger has recorded: its terms, which replace a newer offer's."""

    kind: Literal["signed"] = "signed"
    attempt_id: UUID
    number: int
    currency: Currency
    amount_atomic: int
    pay_to: str


class PaidBefore(Value):
    """The request was paid by a payment that the ledger had forgotten: never paid again, its content is owed."""

    kind: Literal["paid_before"] = "paid_before"
    currency: Currency
    amount_atomic: int
    transaction: str


SignResult = Annotated[SignedAttempt | PaidBefore | Awaiting | Refused, Field(discriminator="kind")]


class SignInput(Value):
    """Sign attempt `number` of a request for this offer."""

    order: PaymentOrder
    number: int
    offer: Offer


class AttemptRef(Value):
    """One attempt of one request."""

    order: PaymentOrder
    number: int


class RecallResult(Value):
    """How a request stands in the ledger; `closed` is its end, if it has one."""

    payment: Payment
    signed: SignedAttempt | None
    closed: RequestResult | None


class LogInput(Value):
    """The end of a request."""

    order: PaymentOrder
    result: RequestResult
