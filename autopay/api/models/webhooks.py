"""Where events are sent to, and what became of each."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from autopay.api.models.base import Model


class Webhook(Model):
    """An endpoint; its secrets are never told."""

    endpoint_id: UUID
    url: Annotated[str, Field(examples=["https://ops.example.com/autopay"])]
    events: Annotated[tuple[str, ...], Field(examples=[["approval.needed", "payment.*"]])]
    """What is sent to it: names of events, `payment.*`, `ledger.*`, or `*` for all plain ones."""
    state: Literal["live", "failing", "disabled"]
    """`failing`: the last attempt failed; `disabled`: nothing is sent until a person enables it."""
    retrying: int
    """Events that are tried again."""
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None


class WebhookList(Model):
    """Every endpoint, oldest first."""

    items: tuple[Webhook, ...]


class Delivery(Model):
    """One event for one endpoint."""

    webhook_id: Annotated[str, Field(examples=["msg_0f6b5c2e1d9a5e0f8a7b6c5d4e3f2a1b"])]
    """The same in every attempt."""
    type: Annotated[str, Field(examples=["payment.final"])]
    status: Literal["RETRYING", "DELIVERED", "FAILED"]
    """`FAILED`: given up after a day."""
    attempts: int
    http_status: int | None
    error: str | None
    created_at: datetime
    tried_at: datetime
    next_at: datetime | None
    """When it is tried again."""


class DeliveryList(Model):
    """The last events for an endpoint, newest first."""

    items: tuple[Delivery, ...]
