"""What the ledger knows of agents, as reports and the command line read it."""

from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.policy.records import PolicyInForce
from autopay.domain.request import RequestStatus
from autopay.domain.session import SessionRecord
from autopay.domain.values import Value


class AgentRecord(Value):
    """An agent as the ledger has it."""

    agent_id: UUID
    name: str
    phase: Literal["DEMO", "INTERACTIVE", "FULL"]
    wallet_address: str
    priority_rules: dict[str, object] | None = None


SpendLimit = Literal["policy_currency", "session_budget", "policy_day", "allowance", "balance", "none"]
"""What bounds an agent's spending, see spending.py; `none` when nothing can be spent, for a reason that is told."""


class SpendableRecord(Value):
    """What an agent can spend in a currency, base units: the least of `limits`, which `limit` names.

    `problem` is why its session pays nothing at all. `pauses` says that the agent's last reading, at `read_at`, did
    not reach `needed_atomic` in any of its currencies; both are None before the first.
    """

    currency: Currency
    spendable_atomic: int
    limit: SpendLimit
    limits: dict[SpendLimit, int]
    needed_atomic: int | None
    problem: str | None
    pauses: bool
    read_at: datetime | None


class BalanceRecord(Value):
    """The newest balance reading of an agent in one currency, base units."""

    currency: Currency
    balance_atomic: int
    threshold_atomic: int
    status: Literal["SUFFICIENT", "LOW", "PAUSED"]
    snapshot_at: datetime


class OpenQuestion(Value):
    """A request that waits for a person, since when, and what it is asked about."""

    request_id: str
    since: datetime
    why: str


class AgentSummary(Value):
    """An agent by the ledger, all of it as of one moment (`at`).

    Spent and `payments` count what is final (VERIFIED), `open_atomic` and `open_payments` what has no outcome yet, as
    `ledger spend` does; `spent_today_atomic` is since midnight UTC. `ended` counts its requests by how they ended;
    `waiting` are in its queue, `begun` have begun and not ended, `questions` of these wait for a person. `pause` is
    a person's, as the agent has saved it. `sessions` are those that can pay, `last_sessions` the newest of each
    currency, `readings` the agent's last.
    """

    agent: AgentRecord
    at: datetime
    spent_atomic: dict[Currency, int]
    spent_today_atomic: dict[Currency, int]
    open_atomic: dict[Currency, int]
    payments: int
    open_payments: int
    ended: dict[RequestStatus, int]
    waiting: frozenset[str]
    begun: frozenset[str]
    questions: tuple[OpenQuestion, ...]
    pause: str | None
    sessions: tuple[SessionRecord, ...]
    last_sessions: tuple[SessionRecord, ...]
    readings: tuple[BalanceRecord, ...]
    policy: PolicyInForce

    @property
    def queued(self) -> int:
        """How many requests wait for their turn."""
        return len(self.waiting)

    @property
    def asked(self) -> int:
        """How many requests wait for a person."""
        return len(self.questions)


class BalanceStatus(StrEnum):
    """`balance_snapshots.status`."""

    SUFFICIENT = "SUFFICIENT"
    LOW = "LOW"
    PAUSED = "PAUSED"
