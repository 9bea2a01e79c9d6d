"""Balances over time, what was spent, and how sellers do."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING

from autopay.api.models.base import Page, amounts, money
from autopay.api.models.money_reports import Balance, Seller, SellerOutcomes, Sellers, SellerTime, Spend
from autopay.api.readings.places import seller_host, seller_name
from autopay.domain.money import Currency
from autopay.domain.report.filter import SpendBy

if TYPE_CHECKING:
    from autopay.api.readings.sources import Sources
    from autopay.domain.report.filter import Filter
    from autopay.domain.report.lists import SellerCounts, SellerRow
    from autopay.domain.report.rows import SpendRow

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


async def read_spend(
    sources: Sources, wanted: Filter, by: SpendBy | None, after: str | None, limit: int
) -> Page[Spend]:
    """Sums by day, endpoint, seller, payee or agent, or in all, ordered by that."""
    found = await sources.ledger.reports.spend(wanted, by, after=after, limit=limit)
    return Page(items=tuple(_spend(row, by) for row in found.rows), next=found.next)


async def read_dearest(sources: Sources, wanted: Filter, by: SpendBy, limit: int) -> tuple[Spend, ...]:
    """Of these sums the greatest."""
    return tuple(_spend(row, by) for row in await sources.ledger.reports.dearest(wanted, by, limit))


def _spend(row: SpendRow, by: SpendBy | None) -> Spend:
    return Spend(
        key=seller_name(row.key) if by is SpendBy.SELLER else row.key,
        network=row.network,
        currency=row.currency,
        final=money(row.settled_atomic, row.currency),
        final_payments=row.settled,
        open=money(row.open_atomic, row.currency),
        open_payments=row.open,
        failed_payments=row.failed,
    )


async def read_sellers(
    sources: Sources, since: datetime, now: datetime, agent: str | None, seller: str | None, limit: int
) -> Sellers:
    """Sellers since then, those first that were asked most, each with its chart."""
    span_s = _span_s((now - since).total_seconds())
    host = None if seller is None else seller_host(seller)
    lists = sources.ledger.lists
    found = await lists.sellers(since, agent, host, limit + 1)
    rows = found[:limit]
    hosts = [row.host for row in rows if row.host is not None]
    times = await lists.seller_times(since, timedelta(seconds=span_s), agent, hosts)
    by_host = {
        each: tuple(SellerTime(at=time.at, **_outcomes(time)) for time in of_host)
        for each, of_host in groupby(sorted(times, key=lambda time: (time.host or "", time.at)), lambda time: time.host)
    }
    items = tuple(_seller(row, by_host.get(row.host, ())) for row in rows)
    return Sellers(items=items, more=len(found) > limit, since=since, span_s=span_s)


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
