"""The tables of webhooks: where events are sent to, and what became of each of them.

Endpoints are part of the proof (`alembic/versions/0012_webhooks.py`); deliveries are not, as they would tell of
themselves.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Enum, ForeignKey, Index, Integer, func, text
from sqlalchemy.orm import Mapped, mapped_column

from autopay.adapters.postgres.tables.core import Base
from autopay.domain.webhooks.records import WebhookStatus


class WebhookEndpointRow(Base):
    """Where events are sent to. `cursor` is the last event that was looked at; `sealed_secret` signs, and until
    `old_until` `sealed_old_secret` does as well."""

    __tablename__ = "webhook_endpoints"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    url: Mapped[str]
    events: Mapped[list[str]]
    sealed_secret: Mapped[str]
    sealed_old_secret: Mapped[str] = mapped_column(server_default="")
    old_until: Mapped[datetime | None]
    cursor: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_why: Mapped[str | None]
    removed_at: Mapped[datetime | None]


class WebhookDeliveryRow(Base):
    """One event for one endpoint; `id` is its `webhook-id`, the same in every attempt."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        Index(None, "endpoint_id", "created_at"),
        Index(
            "ix_webhook_deliveries_retrying",
            "endpoint_id",
            "next_at",
            postgresql_where=text("status = 'RETRYING'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    endpoint_id: Mapped[UUID] = mapped_column(ForeignKey("webhook_endpoints.id"))
    event_agent_id: Mapped[UUID]
    event_seq: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str]
    status: Mapped[WebhookStatus] = mapped_column(
        Enum(WebhookStatus, name="webhook_status", values_callable=lambda members: [each.value for each in members])
    )
    attempts: Mapped[int] = mapped_column(Integer)
    http_status: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    tried_at: Mapped[datetime] = mapped_column(server_default=func.now())
    next_at: Mapped[datetime | None]
