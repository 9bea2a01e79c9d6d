"""What was spent: sums for the overview."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from autopay.api.models.base import Money, amounts, money
from autopay.domain.money import Currency
from autopay.domain.report.filter import Filter, SpendBy

if TYPE_CHECKING:
    from autopay.api.services import Services
    from autopay.domain.report.rows import SpendRow

DAYS = 7
MOST_ROWS = 6


@dataclass(frozen=True)
class Bar:
    """A name with its amount, and how long its bar is, of 100."""

    name: str
    amount: Money
    percent: int


@dataclass(frozen=True)
class Spending:
    """What was spent: final on chain, by currency; `days` are heights of bars for the last seven, of 24."""

    today: Sequence[Money]
    week: Sequence[Money]
    ever: Sequence[Money]
    open: Sequence[Money]
    payments: int
    payments_today: int
    failed: int
    days: Sequence[int]
    for_what: Sequence[Bar]


async def read_spending(services: Services) -> Spending:
    """Sums of the last seven days and of all time."""
    reports = services.sources.ledger.reports
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    week = Filter(since=today - timedelta(days=DAYS - 1))
    days, by_endpoint, all_time = await asyncio.gather(
        reports.spend(week, SpendBy.DAY), reports.dearest(week, SpendBy.ENDPOINT, MOST_ROWS), reports.spend()
    )
    by_day, ever = days.rows, all_time.rows
    of_today = [row for row in by_day if row.key == f"{today:%F}"]
    return Spending(
        today=_sums(of_today),
        week=_sums(by_day),
        ever=_sums(ever),
        open=_sums(ever, "open_atomic"),
        payments=sum(row.settled for row in ever),
        payments_today=sum(row.settled for row in of_today),
        failed=sum(row.failed for row in ever),
        days=_heights(by_day, [f"{today - timedelta(days=back):%F}" for back in reversed(range(DAYS))]),
        for_what=bars_of(by_endpoint),
    )


def _sums(rows: Iterable[SpendRow], column: str = "settled_atomic") -> tuple[Money, ...]:
    sums: defaultdict[Currency, int] = defaultdict(int)
    for row in rows:
        sums[row.currency] += getattr(row, column)
    return amounts({currency: atomic for currency, atomic in sums.items() if atomic})


def _heights(rows: Iterable[SpendRow], days: Sequence[str]) -> list[int]:
    """Both currencies are worth a dollar: a bar adds them up, as a picture and never as a number."""
    by_day: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        by_day[str(row.key)] += row.settled_atomic
    most = max(by_day.values(), default=0)
    return [max(1, round(24 * by_day[day] / most)) if most else 1 for day in days]


def bars_of(rows: Iterable[SpendRow]) -> list[Bar]:
    """The rows with something spent, the most expensive first."""
    spent = sorted((row for row in rows if row.settled_atomic), key=lambda row: -row.settled_atomic)
    most = spent[0].settled_atomic if spent else 1
    return [
        Bar(row.key or "unknown", money(row.settled_atomic, row.currency), max(1, 100 * row.settled_atomic // most))
        for row in spent
    ]
