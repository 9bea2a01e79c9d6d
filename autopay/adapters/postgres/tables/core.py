"""The ledger's tables as SQLAlchemy models: the schema that `alembic/versions/` builds, and nothing else.

No behaviour lives here. Columns that came with revision 0004 are nullable where rows of before may lack them;
a check constraint sees to it that every payment under way has what its recovery needs.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from autopay.domain.agent.records import BalanceStatus
from autopay.domain.agent.status import BreakerState
from autopay.domain.audit.anchor import AnchorState
from autopay.domain.money import DECIMALS, Currency
from autopay.domain.network import Network
from autopay.domain.payment.status import Delivery, ErrorType, TransactionStatus
from autopay.domain.phase import Phase
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.request import HttpMethod
from autopay.domain.session import SessionStatus

Money = Numeric(20, DECIMALS)
"""Token units; 20 digits hold every u64 of base units."""

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


OPEN_PAYMENTS = text("status IN ('PENDING', 'RETRYING', 'SUCCESS')")
"""Payments without an outcome, as the index of them says it: a query that says the same reads that index."""


def _enum(values: type[StrEnum], name: str) -> Enum:
    return Enum(values, name=name, values_callable=lambda members: [member.value for member in members])


class Base(DeclarativeBase):
    """Every table; times are `timestamptz` by the database's clock, JSON is JSONB."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # SQLAlchemy's own way to say it
        str: Text(),
        datetime: DateTime(timezone=True),
        Decimal: Money,
        bytes: LargeBinary(),
        dict[str, Any]: JSONB(none_as_null=True),
        list[str]: JSONB(none_as_null=True),
        Any: JSONB(none_as_null=True),
        Phase: _enum(Phase, "autonomy_phase"),
        Currency: _enum(Currency, "currency"),
        TransactionStatus: _enum(TransactionStatus, "transaction_status"),
        ErrorType: _enum(ErrorType, "error_type"),
        Network: _enum(Network, "network"),
        BalanceStatus: _enum(BalanceStatus, "balance_status"),
        HttpMethod: _enum(HttpMethod, "http_method"),
        SessionStatus: _enum(SessionStatus, "session_status"),
        BreakerState: _enum(BreakerState, "circuit_breaker_state"),
        Delivery: _enum(Delivery, "delivery"),
        ApprovalStatus: _enum(ApprovalStatus, "approval_status"),
        AnchorState: _enum(AnchorState, "anchor_status"),
    }


class AgentRow(Base):
    """An agent; one with payments is archived, never removed."""

    __tablename__ = "agents"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    autonomy_phase: Mapped[Phase]
    wallet_address: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())
    priority_rules: Mapped[dict[str, Any] | None]
    archived_at: Mapped[datetime | None]


class SessionRow(Base):
    """A delegate key that may pay, and its scope; `session_token` is the sealed key, empty once it was destroyed."""

    __tablename__ = "sessions"
    __table_args__ = (Index(None, "agent_id", "expires_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    session_token: Mapped[str]
    scope: Mapped[dict[str, Any]]
    status: Mapped[SessionStatus]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    public_key: Mapped[str | None]
    currency: Mapped[Currency | None]
    mint: Mapped[str | None]
    source_account: Mapped[str | None]
    owner_wallet: Mapped[str | None]
    allowance: Mapped[Decimal | None]
    key_version: Mapped[str | None]


class TransactionRow(Base):
    """An attempt: one signed payment, recorded before it leaves. `status` speaks of money only."""

    __tablename__ = "transactions"
    __table_args__ = (
        UniqueConstraint("hash", "network"),
        UniqueConstraint("x402_request_id", "attempt_number"),
        UniqueConstraint("message_hash"),
        CheckConstraint("retry_count BETWEEN 0 AND 3", name="retry_count"),
        CheckConstraint("amount >= 0", name="amount"),
        CheckConstraint(
            "status NOT IN ('PENDING', 'RETRYING') OR num_nulls(attempt_number, session_id, memo, message_hash, "
            "buyer_signature, blockhash, blockhash_slot, last_valid_block_height, sealed_payment, pay_to, mint, "
            "source_account, destination_account, authority, x402_version) = 0",
            name="recoverable",
        ),
        Index(None, "agent_id", "created_at"),
        Index(None, "agent_id", "host", "created_at"),  # a day's spending at a host
        Index(None, "agent_id", "resource", "created_at"),  # the last price
        Index(None, "session_id"),
        Index("ix_transactions_session_id_open", "session_id", postgresql_where=OPEN_PAYMENTS),
        Index(
            "ix_transactions_memo_forgotten",  # what a restored ledger forgot
            "memo",
            postgresql_where=text("error_code = 'booked_after_restore'"),
        ),
        Index(
            "ix_transactions_created_at",
            "created_at",
            postgresql_include=["id", "agent_id", "network", "currency", "status", "amount", "endpoint", "pay_to"],
        ),
        Index("ix_transactions_status_created_at", "status", "created_at"),
        Index(
            "uq_transactions_x402_request_id_not_failed",
            "x402_request_id",
            unique=True,
            postgresql_where=text("status <> 'FAILED'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id"))
    hash: Mapped[str | None]
    amount: Mapped[Decimal]
    currency: Mapped[Currency]
    status: Mapped[TransactionStatus] = mapped_column(server_default=TransactionStatus.PENDING.value)
    x402_request_id: Mapped[str]
    facilitator_response: Mapped[dict[str, Any] | None]
    retry_count: Mapped[int] = mapped_column(server_default="0")
    error_type: Mapped[ErrorType | None]
    network: Mapped[Network]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    backoff_delay: Mapped[int | None]
    session_id: Mapped[UUID | None] = mapped_column(ForeignKey("sessions.id"))
    verification_hash: Mapped[str | None]
    attempt_number: Mapped[int | None]
    memo: Mapped[str | None]
    message_hash: Mapped[str | None]
    buyer_signature: Mapped[str | None]
    blockhash: Mapped[str | None]
    blockhash_slot: Mapped[int | None] = mapped_column(BigInteger)
    last_valid_block_height: Mapped[int | None] = mapped_column(BigInteger)
    sealed_payment: Mapped[str | None]
    pay_to: Mapped[str | None]
    mint: Mapped[str | None]
    source_account: Mapped[str | None]
    destination_account: Mapped[str | None]
    authority: Mapped[str | None]
    x402_version: Mapped[int | None]
    newest_prior_signature: Mapped[str | None]
    claims: Mapped[list[str]] = mapped_column(server_default=text("'[]'::jsonb"))
    sends: Mapped[int] = mapped_column(server_default="0")
    settled_sends: Mapped[int] = mapped_column(server_default="0")
    sent_at: Mapped[datetime | None]
    last_answer: Mapped[str | None]
    error_code: Mapped[str | None]
    slot: Mapped[int | None] = mapped_column(BigInteger)
    host: Mapped[str | None]
    resource: Mapped[str | None]
    endpoint: Mapped[str | None]  # by a trigger, from its request
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now(), onupdate=func.now())


class BalanceSnapshotRow(Base):
    """What an agent could spend at a moment, and whether that paused it."""

    __tablename__ = "balance_snapshots"
    __table_args__ = (Index(None, "agent_id", "snapshot_at"), Index("ix_balance_snapshots_snapshot_at", "snapshot_at"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id"))
    balance: Mapped[Decimal]
    currency: Mapped[Currency]
    threshold: Mapped[Decimal] = mapped_column(server_default=text("0.01"))
    status: Mapped[BalanceStatus]
    snapshot_at: Mapped[datetime] = mapped_column(server_default=func.now())


class RequestRow(Base):
    """A paid request, from its acceptance to its end; `x402_request_id` is its key everywhere.

    The content can be megabytes: it is read only where it is asked for.
    """

    __tablename__ = "api_request_logs"
    __table_args__ = (
        UniqueConstraint("x402_request_id"),
        UniqueConstraint("agent_id", "request_id"),
        Index(None, "agent_id", "endpoint"),
        Index(None, "agent_id", "created_at"),
        Index("ix_api_request_logs_open", "id", postgresql_where=text("closed_at IS NULL")),  # what is adopted
        Index("ix_api_request_logs_created_at", "created_at"),
        Index(
            "ix_api_request_logs_owed",  # what sellers are asked for again
            "closed_at",
            postgresql_where=text("delivery = 'UNDELIVERED' AND closed_at IS NOT NULL"),
        ),
        Index(
            "ix_api_request_logs_prunable",
            "closed_at",
            postgresql_where=text("body_sha256 IS NOT NULL AND body_pruned_at IS NULL"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id"))
    endpoint: Mapped[str]
    method: Mapped[HttpMethod]
    response_status: Mapped[int | None]
    x402_instructions: Mapped[dict[str, Any] | None]
    retry_attempts: Mapped[int] = mapped_column(server_default="0")
    success_payload: Mapped[Any | None] = mapped_column(deferred=True)
    transaction_id: Mapped[UUID | None] = mapped_column(ForeignKey("transactions.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    circuit_breaker_state: Mapped[BreakerState | None]
    request_id: Mapped[str | None]
    x402_request_id: Mapped[str | None]
    url: Mapped[str | None]
    terms_hash: Mapped[str | None]
    max_price: Mapped[Decimal | None]
    currency_preference: Mapped[Currency | None]
    watch: Mapped[str | None]
    sealed_extras: Mapped[str | None]
    body_hash: Mapped[str | None]
    delivery: Mapped[Delivery] = mapped_column(server_default=Delivery.NONE.value)
    conflict: Mapped[bool] = mapped_column(server_default=text("false"))
    outcome: Mapped[str | None]
    error_code: Mapped[str | None]
    error_message: Mapped[str | None]
    result: Mapped[dict[str, Any] | None]
    content_type: Mapped[str | None]
    body: Mapped[bytes | None] = mapped_column(deferred=True)
    body_sha256: Mapped[str | None]
    content_complete: Mapped[bool | None]
    content_encoding: Mapped[str | None]
    content_location: Mapped[str | None]
    price: Mapped[Decimal | None]
    pay_to: Mapped[str | None]
    answered_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    body_pruned_at: Mapped[datetime | None]


class QueueRow(Base):
    """A request's place in its agent's queue; taken when `processed_at` is set."""

    __tablename__ = "priority_queue"
    __table_args__ = (
        Index(None, "agent_id", "priority_score"),
        Index(None, "api_request_id"),
        Index(
            "uq_priority_queue_api_request_id_waiting",
            "api_request_id",
            unique=True,
            postgresql_where=text("processed_at IS NULL"),
        ),
        Index("ix_priority_queue_agent_id_waiting", "agent_id", postgresql_where=text("processed_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id"))
    api_request_id: Mapped[UUID] = mapped_column(ForeignKey("api_request_logs.id"))
    priority_score: Mapped[Decimal] = mapped_column(Numeric())
    queued_at: Mapped[datetime] = mapped_column(server_default=func.now())
    processed_at: Mapped[datetime | None]
