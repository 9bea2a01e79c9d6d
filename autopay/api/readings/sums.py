"""Balances over time, what was spent, and how sellers do."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from autopay.api.models.base import Page, amounts, money
from autopay.api.models.money_reports import Balance, Seller, SellerOutcomes, Sellers, SellerTime, Spend, SpendReport
from autopay.api.readings.places import seller_host, seller_name
from autopay.domain.money import Currency
from autopay.domain.report.filter import SpendBy

if TYPE_CHECKING:
    from autopay.api.readings.sources import Sources
    from autopay.domain.report.filter import Filter
    from autopay.domain.report.lists import SellerCounts, SellerRow

TIMES = 48
"""About so many points has a seller's chart."""

_SPANS_S = (60, 300, 900, 3_600, 14_400, 86_400, 604_800)


async def read_balances(
    sources: Sources,
    agent: str | None,
    span: tuple[datetime | None, datetime | None],
    every: timedelta | None,
    after: str | None,
    limit: int,
) -> Page[Balance]:
    """Readings, newest first; with `every` the last one alone of each such span of time."""
    since, until = span
    found = await sources.ledger.lists.balances(agent, since=since, until=until, every=every, after=after, limit=limit)
    items = tuple(
        Balance(
            at=row.snapshot_at,
            agent=row.agent,
            spendable=money(row.balance_atomic, row.currency),
            threshold=money(row.threshold_atomic, row.currency),
            status=row.status,
        )
        for row in found.rows
    )
    return Page(items=items, next=found.next)


async def read_spend(sources: Sources, wanted: Filter, by: SpendBy | None) -> SpendReport:
    """Sums by day, endpoint, seller, payee or agent, or in all."""
    rows = await sources.ledger.reports.spend(wanted, by)
    return SpendReport(
        items=tuple(
            Spend(
                key=seller_name(row.key) if by is SpendBy.SELLER else row.key,
                network=row.network,
                currency=row.currency,
                final=money(row.settled_atomic, row.currency),
                final_payments=row.settled,
                open=money(row.open_atomic, row.currency),
                open_payments=row.open,
                failed_payments=row.failed,
            )
            for row in rows
        )
    )


async def read_sellers(
    sources: Sources, since: datetime, now: datetime, agent: str | None, seller: str | None
) -> Sellers:
    """Sellers since then, those first that were asked most, each with its chart."""
    span_s = _span_s((now - since).total_seconds())
    host = None if seller is None else seller_host(seller)
    lists = sources.ledger.lists
    rows = [row for row in await lists.sellers(since, agent) if host is None or row.host == host]
    times = await lists.seller_times(since, timedelta(seconds=span_s), agent, host)
    by_host = {
        each: tuple(SellerTime(at=time.at, **_outcomes(time)) for time in of_host)
        for each, of_host in groupby(sorted(times, key=lambda time: (time.host or "", time.at)), lambda time: time.host)
    }
    return Sellers(items=tuple(_seller(row, by_host.get(row.host, ())) for row in rows), since=since, span_s=span_s)


def _span_s(seconds: float) -> int:
    return next((each for each in _SPANS_S if seconds / each <= TIMES), _SPANS_S[-1])


def _seller(row: SellerRow, times: tuple[SellerTime, ...]) -> Seller:
    paid = {Currency.USDC: row.usdc_atomic, Currency.CASH: row.cash_atomic}
    return Seller(
        host=seller_name(row.host),
        paid=amounts({currency: amount for currency, amount in paid.items() if amount}),
        last_at=row.last_at,
        times=times,
        **_outcomes(row),
    )


def _outcomes(row: SellerCounts) -> dict[str, object]:
    return row.model_dump(include=set(SellerOutcomes.model_fields))
