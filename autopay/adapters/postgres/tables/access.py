"""The tables of who may call the API, and of what callers ordered: tokens, logins of the page, actions.

Tokens and actions are part of the proof: triggers write an event for each change (`alembic/versions/0011_access.py`).
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from autopay.adapters.postgres.tables.core import Base


class TokenRow(Base):
    """A token of the API: its hash, and what it may do. `last_used_at` is right to the hour only."""

    __tablename__ = "api_tokens"
    __table_args__ = (
        Index("uq_api_tokens_name_live", "name", unique=True, postgresql_where=text("revoked_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str]
    scopes: Mapped[list[str]]
    secret_hash: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class LoginRow(Base):
    """A browser that has shown a token, and has a cookie since; it ends with its time, its token or a logout."""

    __tablename__ = "page_logins"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    token_id: Mapped[UUID] = mapped_column(ForeignKey("api_tokens.id"))
    secret_hash: Mapped[bytes]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class ActionRow(Base):
    """What a caller ordered, recorded before it is done; without an outcome it is not known whether it was."""

    __tablename__ = "operator_actions"
    __table_args__ = (Index(None, "agent_id", "created_at"), Index(None, "created_at"))

    id: Mapped[UUID] = mapped_column(primary_key=True)
    agent_id: Mapped[UUID | None] = mapped_column(ForeignKey("agents.id"))
    actor: Mapped[str]
    via: Mapped[str]
    token_id: Mapped[UUID | None] = mapped_column(ForeignKey("api_tokens.id"))
    action: Mapped[str]
    target: Mapped[str | None]
    details: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    outcome: Mapped[str | None]
    error: Mapped[str | None]
    ended_at: Mapped[datetime | None]
