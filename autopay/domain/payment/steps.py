"""The steps of a paid request: what each takes and returns, and `Steps`, which does them.

What is exchanged is small and without secrets, as it stays in the workflow's history: values, ids and hashes; no body.

| step | takes | returns | does |
|---|---|---|---|
| recall | `PaymentOrder` | `RecallResult` | reads from the ledger how the request stands |
| fetch | `PaymentOrder` | `FetchResult` | asks the seller without a payment |
| parse | `PaymentOrder`, `Challenge` | `ParseResult` | chooses an offer of the seller's 402 |
| sign | `SignInput` | `SignResult` | reserves the money, signs, and records the attempt |
| submit | `AttemptRef` | `SellerAnswer` | hands the recorded bytes to the seller, and tells the agent of the content |
| verify | `AttemptRef` | `Verdict` | asks the chain what became of the attempt |
| log | `LogInput` | | books what the chain showed, closes the request in the ledger, and tells the agent |

A first run, whose order has the `accepted` request, recalls nothing: it reads the ledger when the money is reserved.
"""

from typing import Annotated, Literal, Protocol
from uuid import UUID

from pydantic import Field

from autopay.domain.money import Currency
from autopay.domain.payment.notice import Notice
from autopay.domain.payment.offer import Challenge, Offer
from autopay.domain.payment.payment import Payment, SellerAnswer, Settlement, Verdict
from autopay.domain.policy.policy import Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import Method, RequestResult, RequestSpec
from autopay.domain.values import Value

PAYMENT_RELEASE = 1
"""With what a `PaidRequest` is started beside its order, so that its run stays as this release does it: a first run
recalls nothing, the chain is asked about what came with a receipt when it can be final, steps tell the agent through
the worker's outbox, and the status is shown when it ends or takes longer. See workflows/releases.py."""


class PaymentOrder(Value):
    """What a `PaidRequest` is started with; the request's headers and body stay in the ledger.

    `canceled`: nothing new is signed; what was signed before is still verified. `breaker` is the state of the seller's
    circuit breaker when the agent started the request. `accepted` is the request as the agent has recorded it a moment
    ago: no step reads it from the ledger, which compares it when the money is reserved. Only the first run of a request
    has it, and only of one without headers and body.
    """

    agent: str
    request_id: str
    request_key: str
    url: str
    method: Method = "GET"
    canceled: bool = False
    breaker: str | None = None
    accepted: RequestSpec | None = None

    def for_another_run(self) -> "PaymentOrder":
        """The order of a run that goes on from what the ledger has."""
        return self.model_copy(update={"accepted": None})


class FreeContent(Value):
    """The seller answered without asking for money; the content is stored. See `Reply` for `complete`, `encoding`."""

    kind: Literal["free"] = "free"
    http_status: int
    complete: bool | None = None
    encoding: str | None = None


class FetchFailed(Value):
    """No content and no offer; `type` is a stable name, nothing was paid."""

    kind: Literal["failed"] = "failed"
    type: str
    message: str
    http_status: int | None = None


FetchResult = Annotated[FreeContent | FetchFailed | Challenge | Refused, Field(discriminator="kind")]
ParseResult = Annotated[Offer | Refused, Field(discriminator="kind")]


class SignedAttempt(Value):
    """An attempt that the ledger has recorded, with the terms that were signed: they replace those of a newer offer.

    `max_settled_sends` is how often its seller is asked for what has settled; None from workers of 0.2.0. `is_new`:
    it was recorded just now, and not by a run before.
    """

    kind: Literal["signed"] = "signed"
    attempt_id: UUID
    number: int
    currency: Currency
    amount_atomic: int
    pay_to: str
    max_settled_sends: int | None = None
    is_new: bool = True


class PaidBefore(Value):
    """The request was paid by a payment that a restored ledger had lost: never paid again, its content is owed."""

    kind: Literal["paid_before"] = "paid_before"
    currency: Currency
    amount_atomic: int
    transaction: str


SignResult = Annotated[SignedAttempt | PaidBefore | Awaiting | Refused, Field(discriminator="kind")]


class SignInput(Value):
    """Sign attempt `number` of a request for this offer; `challenge`: what the seller asked, when the ledger does not
    have it yet."""

    order: PaymentOrder
    number: int
    offer: Offer
    challenge: Challenge | None = None


class AttemptRef(Value):
    """One attempt of one request. `closing`: the content is stored, so that a settlement is booked with the end.
    `notice`: what the agent is told when the content has come and is stored."""

    order: PaymentOrder
    number: int
    closing: bool = False
    notice: Notice | None = None


class RecallResult(Value):
    """How a request stands in the ledger: `signed` is its newest attempt, `closed` its end; None when it has none."""

    payment: Payment
    signed: SignedAttempt | None
    closed: RequestResult | None


class SettledAttempt(Value):
    """An attempt that the chain shows as final."""

    attempt_id: UUID
    settlement: Settlement


class LogInput(Value):
    """The end of a request; `settled` is to be booked with it, and `notice` is what the agent is told then."""

    order: PaymentOrder
    result: RequestResult
    settled: SettledAttempt | None = None
    notice: Notice | None = None


class StepFailed(Exception):
    """A step was given up: its retries are used up, or its fault is permanent.

    `type` is the fault's stable name in snake_case, such as `chain_unavailable`.
    """

    def __init__(self, fault: str, message: str) -> None:
        super().__init__(message)
        self.type = fault
        self.message = message


class Steps(Protocol):
    """Does each step. Any method may raise StepFailed; the step may have had its effect all the same."""

    async def recall(self, order: PaymentOrder) -> RecallResult: ...
    async def fetch(self, order: PaymentOrder) -> FetchResult: ...
    async def parse(self, order: PaymentOrder, challenge: Challenge) -> ParseResult: ...
    async def sign(self, to_sign: SignInput) -> SignResult: ...
    async def submit(self, order: PaymentOrder, attempt: SignedAttempt, send: int, told: Notice) -> SellerAnswer:
        """`send` counts how often these bytes were handed over, this time included; `told` is sent to the agent when
        the content comes."""
        ...

    async def verify(self, order: PaymentOrder, attempt: SignedAttempt, *, closing: bool) -> Verdict:
        """The verdict, booked; a settlement only unless `closing`, which `log` books then."""
        ...

    async def log(self, closing: LogInput) -> None: ...
    async def wait(self, wait_ms: int, why: str) -> None: ...
    async def wait_for_approval(self, awaiting: Awaiting) -> None:
        """Return when a person has decided, when the question has expired, or when the request is canceled.

        Which of them it was, the ledger says when signing is tried again.
        """
        ...

    async def announce(self, notice: Notice) -> None:
        """Send a notice to the agent."""
        ...

    def show(self, now: str, payment: Payment) -> None:
        """Show people what happens now, in Markdown."""
        ...


# The stable names of faults that a run tells apart

OUTAGES = ("chain_unavailable", "node_behind", "ledger_unavailable", "ledger_fenced", "step_timed_out")
"""Faults of signing that pass: the request is held until they have. Nothing was recorded, so nothing can leave."""

MAYBE_NOT_SENT = ("ledger_unavailable", "step_timed_out")
"""Faults of submit that pass, and before which the bytes may or may not have left."""

UNKNOWN_REQUEST = "unknown_request"
"""The fault of a ledger that was restored and has lost what this run knows: the run then goes on from what the ledger
has. If the ledger does not have the request at all, the run ends, and the agent is told so that it can ask again."""

ORDER_DIFFERS = "order_differs"
"""The fault of a first run that was started with another request than the ledger has."""

NOT_ASKED = (RefusalReason.INSECURE_TRANSPORT, RefusalReason.ADDRESS_NOT_ALLOWED)
"""Refusals before the seller was asked; after any other it has answered 402."""
