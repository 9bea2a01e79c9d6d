"""What the ledger knows of webhooks, and what travels between its workflow and its activity."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from autopay.domain.values import Value


class WebhookStatus(StrEnum):
    """RETRYING: the last attempt failed, and there is a next one. DELIVERED. FAILED: given up."""

    RETRYING = "RETRYING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class WebhookEndpoint(Value):
    """Where events are sent to, without its secrets."""

    endpoint_id: UUID
    url: str
    events: tuple[str, ...]
    created_at: datetime
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_why: str | None
    retrying: int = 0

    @property
    def state(self) -> str:
        """`live`, `failing` or `disabled`."""
        if self.disabled_at is not None:
            return "disabled"
        return "live" if self.failing_since is None else "failing"


class WebhookDelivery(Value):
    """One event for one endpoint, and what became of it."""

    webhook_id: str
    type: str
    status: WebhookStatus
    attempts: int
    http_status: int | None
    error: str | None
    created_at: datetime
    tried_at: datetime
    next_at: datetime | None


class Message(Value):
    """What is sent: `webhook_id` is the same in every attempt, `body` is signed as it is."""

    webhook_id: str
    type: str
    body: bytes


class SigningEndpoint(Value):
    """An endpoint as the sender needs it, with its secrets, sealed; the old one while it still signs."""

    endpoint: WebhookEndpoint
    sealed_secrets: tuple[str, ...]


class Attempt(Value):
    """What one attempt came to: delivered when `error` is None. `gone` is the answer 410: nothing more is wanted."""

    http_status: int | None = None
    error: str | None = None
    retry_after_s: float | None = None
    gone: bool = False


class WebhookOrder(Value):
    """The argument of the workflow `WebhookEndpoint`, which begins itself anew after so many rounds: about two days,
    and some 1,300 events of history."""

    endpoint_id: UUID
    rounds: int = 200


class WebhookRound(Value):
    """What one round of the activity came to; `ended` when the endpoint is disabled or removed."""

    delivered: int = 0
    failed: int = 0
    ended: bool = False


Data = dict[str, Any]
