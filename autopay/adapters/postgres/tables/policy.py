"""The tables of what a payment may be, beside those of what was paid (tables.py): policies, payees, approvals."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from autopay.adapters.postgres.tables.core import Base
from autopay.domain.network import Network
from autopay.domain.policy.records import ApprovalStatus


class PolicyRow(Base):
    """A policy as it was set; the newest of an agent holds, else the newest without an agent, which is everyone's."""

    __tablename__ = "policies"
    __table_args__ = (Index(None, "agent_id", "set_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID | None] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    policy: Mapped[dict[str, Any]]
    set_at: Mapped[datetime] = mapped_column(server_default=func.now())


class CounterpartyRow(Base):
    """A payee that an origin is known by: of the first payment, or accepted by a person. Never changed."""

    __tablename__ = "counterparties"
    __table_args__ = (UniqueConstraint("network", "origin", "pay_to"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    network: Mapped[Network]
    origin: Mapped[str]
    pay_to: Mapped[str]
    accepted_by: Mapped[str]
    accepted_at: Mapped[datetime] = mapped_column(server_default=func.now())


class ApprovalRow(Base):
    """A question to a person about exact terms: approved or denied, and used once. `attempt_id` is what used it."""

    __tablename__ = "approvals"
    __table_args__ = (
        Index(None, "agent_id", "created_at"),
        Index(None, "x402_request_id", "created_at"),
        Index(
            "uq_approvals_x402_request_id_terms_hash_live",
            "x402_request_id",
            "terms_hash",
            unique=True,
            postgresql_where=text("status IN ('PENDING', 'APPROVED')"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id"))
    x402_request_id: Mapped[str] = mapped_column(ForeignKey("api_request_logs.x402_request_id"))
    terms_hash: Mapped[str]
    terms: Mapped[dict[str, Any]]
    why: Mapped[str]
    status: Mapped[ApprovalStatus] = mapped_column(server_default=ApprovalStatus.PENDING.value)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("transactions.id"))
