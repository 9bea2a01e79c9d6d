"""What the activity that sends webhooks needs: the ledger's part of it, and what sends."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.webhooks.records import Attempt, Message, SigningEndpoint


class SentEvent(Protocol):
    """An event of the ledger, as it is sent."""

    @property
    def cursor(self) -> str: ...
    @property
    def at(self) -> datetime: ...
    @property
    def agent(self) -> str | None: ...
    @property
    def agent_id(self) -> UUID: ...
    @property
    def seq(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def row_id(self) -> UUID: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def amount_atomic(self) -> int | None: ...
    @property
    def currency(self) -> Currency | None: ...
    @property
    def values(self) -> dict[str, Any]: ...


class Outgoing(NamedTuple):
    """An event that may be sent: how often it was tried, and for one of `operator_actions` what was ordered."""

    event: SentEvent
    attempts: int
    action: str | None


class Sent(NamedTuple):
    """An attempt to record: of which event, under which name, and when the next one is; None after the last."""

    event: SentEvent
    name: str
    attempts: int
    attempt: Attempt
    next_in_s: float | None


class Recorded(NamedTuple):
    """What recording an attempt has come to: `goes_on` unless somebody else has gone on meanwhile, or the endpoint is
    disabled; `disabled` says why this attempt has disabled it."""

    goes_on: bool
    disabled: str | None = None


class Backlog(NamedTuple):
    """How many events have failed since the endpoint took one, beside those that it refuses; in how many seconds the
    next one is due, and how many ago a new one was tried; None without any."""

    failing: int
    due_in_s: float | None
    begun_s_ago: float | None


class WebhookBook(Protocol):
    """Endpoints and deliveries in the ledger."""

    async def signing(self, endpoint_id: UUID) -> SigningEndpoint | None:
        """The endpoint with what signs for it now; None when it was removed."""
        ...

    async def due(self, endpoint_id: UUID, limit: int) -> Sequence[tuple[Outgoing, str]]:
        """Events that are to be tried again now, with the names that they are sent under."""
        ...

    async def backlog(self, endpoint_id: UUID) -> Backlog: ...

    async def new(self, endpoint_id: UUID, limit: int) -> tuple[str, Sequence[Outgoing]]:
        """The endpoint's cursor, and the next events behind it."""
        ...

    async def skip(self, endpoint_id: UUID, before: str, cursor: str) -> bool:
        """Go on behind that event, which nobody wanted; False when somebody else has gone on meanwhile."""
        ...

    async def record(self, endpoint_id: UUID, sent: Sent, before: str | None = None) -> Recorded:
        """Record an attempt, and with `before` go on behind its event; disable the endpoint where that is due."""
        ...

    async def prune(self, endpoint_id: UUID) -> None: ...


class WebhookSender(Protocol):
    """Sends one message; whatever the receiver does is an outcome."""

    async def send(self, url: str, message: Message, signing_secrets: Sequence[str]) -> Attempt: ...
