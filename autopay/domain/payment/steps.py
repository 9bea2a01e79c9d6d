"""What the workflow and its activities say to each other: small values, ids and hashes; never a body or a secret."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from autopay.domain.money import Currency
from autopay.domain.payment.offer import Challenge, Offer, Refused
from autopay.domain.payment.payment import Payment
from autopay.domain.policy.policy import Awaiting
from autopay.domain.reconcile.forgotten import PaidBefore
from autopay.domain.request import Method, RequestResult, RequestSpec, RequestStatus


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class PayOrder(_Value):
    """What a `PaidRequest` is started with; headers and body stay in the ledger. `canceled` begins with no more
    than closing it: nothing is signed, what was signed before is resolved. `breaker` is how the seller's stood."""

    agent: str
    request_id: str
    request_key: str
    url: str
    method: Method = "GET"
    canceled: bool = False
    breaker: str | None = None


class Free(_Value):
    """The seller answered without asking for money; the content is stored."""

    kind: Literal["free"] = "free"
    http_status: int


class Failed(_Value):
    """No content and no offer; `type` is a stable name, nothing was paid."""

    kind: Literal["failed"] = "failed"
    type: str
    message: str
    http_status: int | None = None


Fetched = Annotated[Free | Failed | Challenge | Refused, Field(discriminator="kind")]
Parsed = Annotated[Offer | Refused, Field(discriminator="kind")]


class Signed(_Value):
    """An attempt that the ledger has recorded: its terms, which replace a newer offer's."""

    kind: Literal["signed"] = "signed"
    attempt_id: UUID
    number: int
    currency: Currency
    amount_atomic: int
    pay_to: str


SignedOrNot = Annotated[Signed | PaidBefore | Awaiting | Refused, Field(discriminator="kind")]


class ToSign(_Value):
    """Sign attempt `number` of a request for this offer."""

    order: PayOrder
    number: int
    offer: Offer


class AttemptRef(_Value):
    """One attempt of one request."""

    order: PayOrder
    number: int


class Recalled(_Value):
    """How a request stands in the ledger; `closed` is its end, if it has one."""

    payment: Payment
    signed: Signed | None
    closed: RequestResult | None


class Closing(_Value):
    """The end of a request."""

    order: PayOrder
    result: RequestResult


class Enqueued(_Value):
    """A request was accepted; `status` is how it stands, which for a known id may be an end.

    FRESH: it is answered with what the request `content_of` brought at `content_at`.
    """

    kind: Literal["enqueued"] = "enqueued"
    status: RequestStatus
    content_of: str | None = None
    content_at: datetime | None = None


EnqueuedOrRefused = Annotated[Enqueued | Refused, Field(discriminator="kind")]


class QueuedRequest(_Value):
    """A request that waits in the agent's queue, or is under way. `score` is the one at `queued_at`."""

    request_id: str
    url: str
    method: Method = "GET"
    score: float = 0.0
    queued_at: datetime
    watch: str | None = None
    max_price_atomic: int | None = None
    currency: Currency | None = None
    body_hash: str | None = None


class Backlog(_Value):
    """What an agent finds in the ledger when a run of it begins; `asked` are those that wait for a person."""

    queue: tuple[QueuedRequest, ...] = ()
    open: tuple[QueuedRequest, ...] = ()
    asked: dict[str, datetime] = {}


class ToEnqueue(_Value):
    """Accept this request, unless `queue_limit` already wait, or there is content that came after `fresh_since`."""

    agent: str
    spec: RequestSpec
    score: float
    queue_limit: int
    fresh_since: datetime | None = None


class InFlight(_Value):
    """Requests that an agent believes to be under way."""

    agent: str
    request_ids: tuple[str, ...]


class BalanceQuery(_Value):
    """Which balances to read, and from what amount on each currency can pay; an agent pauses when none can."""

    agent: str
    currencies: tuple[Currency, ...]
    needed: dict[Currency, int]


class TopUpQuery(_Value):
    """Wait until one of the accounts that the agent pays these currencies from changes, at most `timeout_s`."""

    agent: str
    currencies: tuple[Currency, ...]
    timeout_s: float


class PhaseChange(_Value):
    """How much an agent may do without a person, from now on."""

    agent: str
    phase: Literal["DEMO", "INTERACTIVE", "FULL"]
