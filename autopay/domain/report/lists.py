"""What is listed beside payments: requests, readings of balances, sellers."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.report.filter import Cursor
from autopay.domain.request import RequestStatus
from autopay.domain.values import Value


class ListedRequest(Value):
    """A request in a list. Price, currency, payee and transaction are those of the payment that has not failed."""

    row_id: UUID
    created_at: datetime
    agent: str
    request_id: str | None
    request_key: str
    method: str
    url: str | None
    endpoint: str
    status: RequestStatus
    price_atomic: int | None
    currency: Currency | None
    pay_to: str | None
    transaction: str | None
    http_status: int | None
    error_code: str | None
    error_message: str | None
    watch: str | None
    content_type: str | None
    answered_at: datetime | None
    closed_at: datetime | None

    @property
    def cursor(self) -> str:
        """Where a list that ended with this row goes on."""
        return str(Cursor(at=self.created_at, row_id=self.row_id))


class BalanceRow(Value):
    """What an agent could spend in one currency at a moment, and below which it pauses; base units."""

    row_id: UUID
    agent: str
    currency: Currency
    balance_atomic: int
    threshold_atomic: int
    status: Literal["SUFFICIENT", "LOW", "PAUSED"]
    snapshot_at: datetime

    @property
    def cursor(self) -> str:
        """Where a list that ended with this row goes on."""
        return str(Cursor(at=self.snapshot_at, row_id=self.row_id))


class SellerCounts(Value):
    """How requests ended, and how long it took from the signature to the content of those that were paid for."""

    host: str | None
    requests: int
    delivered: int
    fresh: int
    undelivered: int
    failed: int
    refused: int
    open: int
    p50_ms: float | None
    p95_ms: float | None


class SellerRow(SellerCounts):
    """A seller since some moment; `last_at` is when it was asked last. What was paid is in base units."""

    usdc_atomic: int
    cash_atomic: int
    last_at: datetime


class SellerTime(SellerCounts):
    """A seller within the span of time that begins at `at`."""

    at: datetime
