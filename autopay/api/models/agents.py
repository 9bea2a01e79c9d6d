"""An agent: in the list, and with all that is known of it."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from autopay.api.models.base import Model, Money
from autopay.api.models.money_reports import Session
from autopay.domain.agent.records import SpendLimit
from autopay.domain.money import Currency


class Spendable(Model):
    """What an agent can spend in one currency now: the least of its limits."""

    currency: Currency
    amount: Money
    limit: SpendLimit
    """The limit that binds."""
    limit_text: Annotated[str, Field(examples=["session budget"])]
    """The same in words."""
    limits: dict[SpendLimit, Money]
    """Every limit that is known."""
    needed: Money | None
    """Below this the agent pauses; None before its first reading of its balance."""
    problem: str | None
    """Why its session pays nothing at all."""
    is_short: bool
    """Whether this keeps the agent from buying."""
    read_at: datetime | None
    """When the agent last read its balance on chain."""


class AgentItem(Model):
    """An agent in the list."""

    name: Annotated[str, Field(examples=["trader"])]
    phase: Annotated[str, Field(examples=["FULL"])]
    """DEMO: stops after a few payments. INTERACTIVE: a person is asked above its policy's limit. FULL: by itself."""
    state: Annotated[str, Field(examples=["running"])]
    """running, paused, stopping, stopped, starting, never launched, how its workflow ended, or unknown."""
    why: str | None
    """What it waits for, in words."""
    spendable: tuple[Spendable, ...]
    spent_today: tuple[Money, ...]
    """Since midnight UTC, final on chain."""
    spent: tuple[Money, ...]
    """Ever, final on chain."""
    open: tuple[Money, ...]
    """Signed, and not yet final or failed."""
    payments: int
    """Payments that are final."""
    open_payments: int
    queued: int
    """Requests in its queue."""
    held: int
    """Requests that wait for a person or for the chain."""
    live: bool
    """Whether the agent itself answered just now; else this is what the ledger knows."""
    wallet_address: str


class AgentList(Model):
    """Agents by name."""

    items: tuple[AgentItem, ...]
    next: str | None
    """Where the list goes on: give it as `after`. None at the end."""
    problem: str | None
    """Why the states are unknown, when Temporal does not answer."""


class Breaker(Model):
    """A dependency (`rpc` is the chain's node, else a seller) that had faults since its last success."""

    of: str
    state: str
    """CLOSED: asked as usual. OPEN: nothing is sent to it. HALF_OPEN: one request tries it."""
    faults: int
    until: datetime | None


class Held(Model):
    """A request that has begun and waits."""

    request_id: str
    waits_for: Annotated[str, Field(examples=["a person's approval"])]
    since: datetime
    message: str | None


class Waiting(Model):
    """A request in the queue: the highest score comes first."""

    request_id: str
    url: str
    score: float
    queued_at: datetime
    waits_for: str | None
    price: Money | None
    """What it is expected to cost."""


class Watch(Model):
    """Data that the agent keeps fresh."""

    name: str
    url: str
    every_s: int
    last: datetime | None
    next_due: datetime | None
    waits_for: str | None
    stale_since: datetime | None
    price: Money | None
    """The last price seen."""


class PolicySummary(Model):
    """The limits that a person set; None is no limit. USDC and CASH count together, as dollars."""

    own: bool
    """Whether the agent has a policy of its own."""
    per_request: str | None
    per_agent_day: str | None
    left_today: str | None
    per_host_day: str | None
    auto_approve: str
    """Up to this an INTERACTIVE agent asks nobody."""
    hosts: tuple[str, ...]
    payees: tuple[str, ...]


class Agent(AgentItem):
    """An agent with all that is known of it now."""

    advice: tuple[str, ...]
    """What would let it go on, with the commands."""
    paused_by_hand: bool
    """Whether a person paused it: then only a person resumes it."""
    problem: str | None
    """Why the agent itself did not answer; the rest is what the ledger knows."""
    sessions: tuple[Session, ...]
    """Those that can pay, and the last of each currency."""
    policy: PolicySummary
    in_flight: tuple[str, ...]
    """Requests that are being paid for."""
    settling: tuple[str, ...]
    """Answered, not yet final on chain."""
    held_requests: tuple[Held, ...]
    next: tuple[Waiting, ...]
    """The head of its queue."""
    breakers: tuple[Breaker, ...]
    watches: tuple[Watch, ...]
    delivered: int
    fresh: int
    undelivered: int
    failed: int
    refused: int
    workflow: str | None
    """Its page in Temporal's web UI, where that is known."""
