"""Inputs and results of the agent's activities: small values and ids, never a body or a secret."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from autopay.domain.money import Currency
from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.refusal import Refused
from autopay.domain.request import Method, RequestSpec, RequestStatus
from autopay.domain.values import Value

AGENT_RELEASE = "agent-0.3"
"""The patch of runs that work in batches, save in the ledger what the agent is to do, and leave no task empty. See
workflows/releases.py and autopay/temporal/runner.py."""


class Enqueued(Value):
    """A request was accepted; `status` is its status, which for a known id may be a final one.

    FRESH: it is answered with the content of the request `content_of`, which came at `content_at`.
    """

    kind: Literal["enqueued"] = "enqueued"
    status: RequestStatus
    content_of: str | None = None
    content_at: datetime | None = None


EnqueuedOrRefused = Annotated[Enqueued | Refused, Field(discriminator="kind")]


class QueuedRequest(Value):
    """A request that waits in the agent's queue, or is in flight. `score` is the one at `queued_at`."""

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
    """What an agent finds in the ledger when a run of it begins; `asked`: since when requests wait for a person."""

    queue: tuple[QueuedRequest, ...] = ()
    open: tuple[QueuedRequest, ...] = ()
    asked: dict[str, datetime] = {}


class EnqueueInput(Value):
    """A request to accept: unless `queue_limit` already wait, or there is content that came after `fresh_since`."""

    agent: str
    spec: RequestSpec
    score: float
    queue_limit: int
    fresh_since: datetime | None = None


class ToEnqueue(Value):
    """One of the requests of an `EnqueueBatch`: `fresh_since` as in `EnqueueInput`."""

    spec: RequestSpec
    score: float
    fresh_since: datetime | None = None


class EnqueueBatch(Value):
    """Requests of one agent that came together: accepted unless `queue_limit` already wait."""

    agent: str
    queue_limit: int
    requests: tuple[ToEnqueue, ...]


class EnqueueFailed(Value):
    """One request of a batch could not be recorded, for a reason of its own; `type` is the fault's stable name."""

    kind: Literal["failed"] = "failed"
    type: str
    message: str


BatchOutcome = Annotated[Enqueued | Refused | EnqueueFailed, Field(discriminator="kind")]


class StartBatch(Value):
    """Payments that begin together."""

    orders: tuple[PaymentOrder, ...]


class NotStarted(Value):
    """A payment whose workflow Temporal refuses to start, and why."""

    request_id: str
    message: str


class InFlightQuery(Value):
    """Requests that are in flight as far as the agent knows; of these, `to_start` it has still to start itself."""

    agent: str
    request_ids: tuple[str, ...]
    to_start: tuple[str, ...] = ()


class BalanceQuery(Value):
    """Which balances to read, and from what amount on each currency can pay; an agent pauses when none can."""

    agent: str
    currencies: tuple[Currency, ...]
    needed: dict[Currency, int]


class TopUpQuery(Value):
    """Whose accounts to watch, in which currencies, and for how long at most."""

    agent: str
    currencies: tuple[Currency, ...]
    timeout_s: float


class Withdrawn(Value):
    """A question to a person that nobody needs to answer any more: the agent may decide by itself."""

    request_id: str
    approval_id: UUID


class PhaseChange(Value):
    """The phase of an agent from now on."""

    agent: str
    phase: Literal["DEMO", "INTERACTIVE", "FULL"]
