"""The agent's own nouns: watches, the messages that drive it, and what it says of itself. Pure."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from autopay.domain.agent.breaker import BreakerState
from autopay.domain.money import MAX_ATOMIC, Currency
from autopay.domain.network import Network
from autopay.domain.request import AGENT_NAME_PATTERN, Method, RequestSpec, RequestStatus, check_url

DEMO_PAYMENTS = 3
"""Payments after which a DEMO agent stops by itself."""

MAX_WATCHES = 200
QUEUE_LIMIT = 500
MAX_QUEUE = 1000
"""A queue is read at once when a run begins: with URLs of 2 kB that many stay below Temporal's 4 MB a message."""

MAX_IN_FLIGHT = 8
"""A seller may hold as many slots as are free: alone it gets half of these, and one that hangs leaves the rest."""

HISTORY_EVENTS = 10_000
"""Events after which an agent continues as new, if Temporal does not suggest it earlier (its limit is 51,200)."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Phase(StrEnum):
    """How much an agent may do without a person."""

    DEMO = "DEMO"
    INTERACTIVE = "INTERACTIVE"
    FULL = "FULL"


class Watch(_Value):
    """Data to keep fresh: bought again whenever the last copy is older than `every_s` seconds."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}$")
    url: str = Field(min_length=8, max_length=2048)
    method: Method = "GET"
    every_s: int = Field(ge=1, le=31_536_000)
    max_price_atomic: int | None = Field(None, gt=0, le=MAX_ATOMIC)
    currency: Currency | None = None
    weight: float = Field(1.0, ge=0.001, le=1000)

    @field_validator("url")
    @classmethod
    def _askable(cls, url: str) -> str:
        check_url(url)
        return url

    def spec(self, due: datetime) -> RequestSpec:
        """The request that keeps this watch fresh at `due`; the same due time gives the same request id."""
        stamp = due.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
        return RequestSpec(
            request_id=f"{self.name}-{stamp}",
            url=self.url,
            method=self.method,
            max_price_atomic=self.max_price_atomic,
            currency=self.currency,
            watch=self.name,
        )


class Rules(_Value):
    """The agent's own limits.

    `thresholds` are spendable base units below which a currency counts as used up; when all do, the agent pauses
    itself. What does not fit what is spendable waits, and in its currency so does all that ranks behind it, until
    there is money. With `buy_what_fits` neither holds: whatever fits is bought, however little is left.
    """

    thresholds: dict[Currency, Annotated[int, Field(ge=0, le=MAX_ATOMIC)]] = {
        Currency.USDC: 10_000,
        Currency.CASH: 10_000,
    }
    buy_what_fits: bool = False
    max_in_flight: int = Field(MAX_IN_FLIGHT, ge=1, le=100)
    queue_limit: int = Field(QUEUE_LIMIT, ge=1, le=MAX_QUEUE)
    demo_payments: int = Field(DEMO_PAYMENTS, ge=1, le=1000)
    balance_every_s: int = Field(30, ge=1, le=86_400)
    history_events: int = Field(HISTORY_EVENTS, ge=200, le=40_000)

    def needed(self, currency: Currency) -> int:
        """Spendable base units from which on payments in that currency are made."""
        return 1 if self.buy_what_fits else max(1, self.thresholds.get(currency, 0))


class AgentSpec(_Value):
    """What an agent is launched with."""

    name: str = Field(pattern=AGENT_NAME_PATTERN)
    phase: Phase = Phase.DEMO
    network: Network = Network.DEVNET
    currencies: tuple[Currency, ...] = Field((Currency.USDC,), min_length=1)
    watches: tuple[Watch, ...] = Field((), max_length=MAX_WATCHES)
    rules: Rules = Rules()


class Spendable(_Value):
    """What the agent can spend in one currency now: the least of its limits; `limit` names which one that is.

    `account` is the token account on chain that it spends from, None without a session.
    """

    currency: Currency
    balance_atomic: int
    spendable_atomic: int
    limit: Literal["balance", "allowance", "session_budget", "none"]
    session_problem: str | None = None
    account: str | None = None


Held = Literal["approval", "chain"]
"""What a request that is under way can wait for, without a slot: a person's word, or the chain to come back."""


class Notice(_Value):
    """A `PaidRequest` tells its agent: the request has been answered (`final` false), or its money settled.

    With status WAITING it says that the request is `held` before anything was signed, or (`held` None) that it goes
    on. `error` is the stable name of what ended it without content, or of the fault that holds it. `http_status` is
    the seller's last answer, if it gave one.
    """

    request_id: str
    status: RequestStatus
    final: bool
    held: Held | None = None
    error: str | None = None
    http_status: int | None = None
    currency: Currency | None = None
    amount_atomic: int = 0
    transaction: str | None = None
    message: str | None = None


class Accepted(_Value):
    """The answer to the update `request`: taken, and where to look for the result.

    `status` is how the request stands. With FRESH it has ended: nothing is bought, as the agent has the content
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


class WatchStatus(_Value):
    """One watch as the agent sees it.

    `last` is when its content came, `next_due` when it will be bought again, None while something stands in the way:
    `waits` says what. `stale_since` is when its data became older than wanted, None when it is fresh. The price is the
    last one seen.
    """

    watch: Watch
    next_due: datetime | None
    last: datetime | None = None
    stale_since: datetime | None = None
    waits: str | None = None
    price_atomic: int | None = None
    currency: Currency | None = None


class HeldRequest(_Value):
    """A request that has begun and waits, without a slot and with nothing signed: for a person, or for the chain."""

    request_id: str
    why: Held
    since: datetime
    error: str | None = None
    message: str | None = None


class WaitingRequest(_Value):
    """A request in the queue: its score by now, and what it waits for if that is more than its turn."""

    request_id: str
    url: str
    score: float
    queued_at: datetime
    waits: str | None = None


class BreakerStatus(_Value):
    """A dependency (`rpc`, or a seller's host and port) that is not simply well."""

    of: str
    state: BreakerState
    faults: int
    until: datetime | None


class AgentStatus(_Value):
    """The answer to the query `status`.

    `in_flight` holds a slot and has not been answered yet, `settling` is answered and not yet final on chain, `held`
    waits before anything is signed. `spent_atomic` counts payments from their answer on. `next` is the queue's head.
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


def host_of(url: str) -> str:
    """Host and port of a URL, for names and summaries."""
    return urlsplit(url).netloc.rpartition("@")[2]


AGENT_TASK_QUEUE = "autopay"
"""The one task queue of agents and payments."""
