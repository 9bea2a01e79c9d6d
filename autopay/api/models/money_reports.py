"""Balances, sums, sessions and sellers."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from autopay.api.models.base import Model, Money
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.session import SessionState


class Balance(Model):
    """What an agent could spend in one currency at a moment."""

    at: datetime
    agent: str
    spendable: Money
    threshold: Money
    """Below this the agent pauses."""
    status: Literal["SUFFICIENT", "LOW", "PAUSED"]
    """PAUSED: the agent paused itself, as no currency sufficed."""


class Spend(Model):
    """What was spent in one currency on one network."""

    key: Annotated[str | None, Field(examples=["2026-11-22"])]
    """The day (UTC), endpoint, seller, payee or agent; None when it is summed over everything."""
    network: Network
    currency: Currency
    final: Money
    """Final on chain: spent for good."""
    final_payments: int
    open: Money
    """Not yet final: spent or free again, nobody knows."""
    open_payments: int
    failed_payments: int
    """They cost nothing."""


class Session(Model):
    """A key that may pay from one account, within an allowance that the chain enforces; never the key itself."""

    id: UUID
    agent: str
    state: SessionState
    """WAITING: its owner has not signed yet. EXPIRED or REVOKED: it pays nothing any more."""
    allowance: Money
    spent: Money
    left: Money
    """Of the allowance, less what is open."""
    payments: int
    payment_limit: int
    open_payments: int
    hosts: tuple[str, ...]
    """The hosts that it may pay; none: any."""
    granted_at: datetime
    ends_at: datetime
    owner: str
    account: str
    """The token account that it draws from."""
    delegate: str
    """The session's public key."""
    mint: str


class SellerOutcomes(Model):
    """How requests to a seller ended, and how long it took from the signature to the content of what was paid."""

    requests: int
    delivered: int
    """Paid or free, with content."""
    fresh: int
    """Answered from the ledger: nothing was asked."""
    undelivered: int
    """Paid, and no content."""
    failed: int
    """No content, and nothing was paid."""
    refused: int
    """A rule, the terms or a person said no."""
    open: int
    """Not ended yet."""
    p50_ms: float | None
    """Half of the deliveries took no longer."""
    p95_ms: float | None


class SellerTime(SellerOutcomes):
    """A seller within one span of time."""

    at: datetime
    """Where the span begins."""


class Seller(SellerOutcomes):
    """A seller in the time that was asked about."""

    host: Annotated[str | None, Field(examples=["api.example.com"])]
    paid: tuple[Money, ...]
    last_at: datetime
    times: tuple[SellerTime, ...]
    """The same over time, for a chart; spans without a request are left out."""


class Sellers(Model):
    """Sellers by how often they were asked, and what the times of their charts mean."""

    items: tuple[Seller, ...]
    more: bool
    """Whether others were asked as well, less often: `limit` or `seller` shows them."""
    since: datetime
    span_s: int
    """How long one of `times` is, in seconds."""
