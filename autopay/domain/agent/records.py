"""What the ledger knows of agents, as reports and the command line read it."""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.values import Value


class AgentRecord(Value):
    """An agent as the ledger has it."""

    agent_id: UUID
    name: str
    phase: Literal["DEMO", "INTERACTIVE", "FULL"]
    wallet_address: str
    priority_rules: dict[str, object] | None = None


class SpendableRecord(Value):
    """What an agent's sessions leave it in a currency, by the ledger: no chain is asked.

    `problem` is why nothing can be spent at all. `pauses` says that the agent's last reading, at `read_at`, did not
    reach `needed_atomic` in any of its currencies; both are None before the first.
    """

    currency: Currency
    spendable_atomic: int
    needed_atomic: int | None
    problem: str | None
    pauses: bool
    read_at: datetime | None


class AgentSummary(Value):
    """An agent with what it spent (SUCCESS and VERIFIED, base units) and how many payments that were.

    `spent_today_atomic` is since midnight UTC; `queued` wait for their turn, `asked` for a person.
    """

    agent: AgentRecord
    spent_atomic: dict[Currency, int]
    spent_today_atomic: dict[Currency, int]
    payments: int
    open_payments: int
    queued: int
    asked: int
    spendable: tuple[SpendableRecord, ...]


class BalanceRecord(Value):
    """The newest balance reading of an agent in one currency, base units."""

    currency: Currency
    balance_atomic: int
    threshold_atomic: int
    status: Literal["SUFFICIENT", "LOW", "PAUSED"]
    snapshot_at: datetime


class BalanceStatus(StrEnum):
    """`balance_snapshots.status`."""

    SUFFICIENT = "SUFFICIENT"
    LOW = "LOW"
    PAUSED = "PAUSED"
