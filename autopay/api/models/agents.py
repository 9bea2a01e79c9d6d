"""An agent: in the list, and with all that is known of it."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from autopay.api.models.base import Model, Money
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
