"""What the agent's workflow and its activities say to each other: small values and ids, never a body or a secret."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from autopay.domain.money import Currency
from autopay.domain.refusal import Refused
from autopay.domain.request import Method, RequestSpec, RequestStatus
from autopay.domain.values import Value


class Enqueued(Value):
    """A request was accepted; `status` is how it stands, which for a known id may be an end.

    FRESH: it is answered with what the request `content_of` brought at `content_at`.
    """

    kind: Literal["enqueued"] = "enqueued"
    status: RequestStatus
    content_of: str | None = None
    content_at: datetime | None = None


EnqueuedOrRefused = Annotated[Enqueued | Refused, Field(discriminator="kind")]


class QueuedRequest(Value):
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


class Backlog(Value):
    """What an agent finds in the ledger when a run of it begins; `asked` are those that wait for a person."""

    queue: tuple[QueuedRequest, ...] = ()
    open: tuple[QueuedRequest, ...] = ()
    asked: dict[str, datetime] = {}


class ToEnqueue(Value):
    """Accept this request, unless `queue_limit` already wait, or there is content that came after `fresh_since`."""

    agent: str
    spec: RequestSpec
    score: float
    queue_limit: int
    fresh_since: datetime | None = None


class InFlight(Value):
    """Requests that an agent believes to be under way."""

    agent: str
    request_ids: tuple[str, ...]


class BalanceQuery(Value):
    """Which balances to read, and from what amount on each currency can pay; an agent pauses when none can."""

    agent: str
    currencies: tuple[Currency, ...]
    needed: dict[Currency, int]


class TopUpQuery(Value):
    """Wait until one of the accounts that the agent pays these currencies from changes, at most `timeout_s`."""

    agent: str
    currencies: tuple[Currency, ...]
    timeout_s: float


class PhaseChange(Value):
    """How much an agent may do without a person, from now on."""

    agent: str
    phase: Literal["DEMO", "INTERACTIVE", "FULL"]
