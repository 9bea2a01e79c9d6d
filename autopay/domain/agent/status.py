"""What an agent answers to the query `status`, part by part, and to the update `request`."""

from datetime import datetime
from enum import StrEnum
from typing import Literal

from autopay.domain.agent.spec import Rules, Watch
from autopay.domain.money import Currency
from autopay.domain.payment.notice import Held, Notice
from autopay.domain.phase import Phase
from autopay.domain.request import RequestStatus
from autopay.domain.unreadable import DroppedSignal
from autopay.domain.values import StrictValue


class Spendable(StrictValue):
    """What the agent can spend in one currency now: the least of its limits; `limit` names which one that is.

    `account` is the token account on chain that it spends from, None without a session.
    """

    currency: Currency
    balance_atomic: int
    spendable_atomic: int
    limit: Literal["balance", "allowance", "session_budget", "none"]
    session_problem: str | None = None
    account: str | None = None


class Accepted(StrictValue):
    """The answer to the update `request`: it was accepted; `workflow_id` is of the payment that will have the result.

    `status` is the status of the request. With FRESH it has ended: nothing is bought, as the agent has the content
    already, from its earlier request `content_of`.
    """

    request_id: str
    workflow_id: str
    queued: int
    status: RequestStatus = RequestStatus.WAITING
    content_of: str | None = None


class AgentState(StrEnum):
    """What an agent is doing, in one word."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"


class WatchStatus(StrictValue):
    """One watch: when it was bought, when it is bought next, and what keeps it from that.

    `last` is when its content came, `next_due` when it will be bought again, None while something keeps it from that:
    `waits` says what. `stale_since` is when its data became older than wanted, None when it is fresh. The price is
    the last one seen.
    """

    watch: Watch
    next_due: datetime | None
    last: datetime | None = None
    stale_since: datetime | None = None
    waits: str | None = None
    price_atomic: int | None = None
    currency: Currency | None = None


class HeldRequest(StrictValue):
    """A request that has begun and waits without a slot, for what `why` names (see `Held`)."""

    request_id: str
    why: Held
    since: datetime
    error: str | None = None
    message: str | None = None


class WaitingRequest(StrictValue):
    """A request in the queue: its score now, and what it waits for; None if only for its turn.

    The price is what it is expected to cost, None while that is not known.
    """

    request_id: str
    url: str
    score: float
    queued_at: datetime
    waits: str | None = None
    price_atomic: int | None = None
    currency: Currency | None = None


class BreakerState(StrEnum):
    """As `api_request_logs.circuit_breaker_state` has it."""

    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class BreakerStatus(StrictValue):
    """The breaker of a dependency (`rpc`, or a seller's host and port) that had faults since its last success."""

    of: str
    state: BreakerState
    faults: int
    until: datetime | None


class AgentStatus(StrictValue):
    """The answer to the query `status`.

    `in_flight` holds a slot and has not been answered yet, `settling` is answered and not yet final on chain, `held`
    waits before anything is signed. `spent_atomic` counts payments from their answer on. `next` is the queue's head.
    `dropped` signals could not be read, since the launch; `last_dropped` says why.
    """

    name: str
    phase: Phase
    rules: Rules
    state: AgentState
    reason: str | None
    spendable: tuple[Spendable, ...]
    in_flight: tuple[str, ...]
    settling: tuple[str, ...]
    held: tuple[HeldRequest, ...] = ()
    queued: tuple[str, ...]
    next: tuple[WaitingRequest, ...] = ()
    breakers: tuple[BreakerStatus, ...] = ()
    watches: tuple[WatchStatus, ...]
    payments: int
    delivered: int
    fresh: int = 0
    refused: int
    failed: int
    undelivered: int
    spent_atomic: dict[Currency, int]
    last: tuple[Notice, ...]
    dropped: int = 0
    last_dropped: DroppedSignal | None = None
