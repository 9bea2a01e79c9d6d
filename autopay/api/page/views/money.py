"""`/spend` and `/sellers`: sums and charts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from autopay.api.models.base import Money
from autopay.api.page.frame.routing import PageRoute
from autopay.api.page.frame.shell import ShellNeeded
from autopay.api.page.frame.templating import render
from autopay.api.page.views.queries import SPANS, SpanWanted
from autopay.api.services import ServicesNeeded
from autopay.domain.money import Currency
from autopay.domain.report.filter import Filter, SpendBy

if TYPE_CHECKING:
    from autopay.api.models.money_reports import Spend

DAYS = 30
MOST_ROWS = 100

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True)
class Day:
    """What was spent in a day, by currency."""

    at: datetime
    spent: dict[Currency, Money]


@router.get("/spend")
async def spend(request: Request, shell: ShellNeeded, services: ServicesNeeded) -> Response:
    """By day, agent, seller and endpoint, of the last 30 days."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    wanted = Filter(since=today - timedelta(days=DAYS - 1))
    readings, kinds = services.readings, (SpendBy.AGENT, SpendBy.SELLER, SpendBy.ENDPOINT)
    by_day, in_all = await asyncio.gather(readings.spend(wanted, SpendBy.DAY), readings.spend(wanted))
    days, whole = by_day.items, in_all.items
    agents, sellers, endpoints = await asyncio.gather(*(readings.dearest(wanted, by, MOST_ROWS) for by in kinds))
    tables = (("By agent", "agent", agents), ("By seller", "seller", sellers), ("By endpoint", "endpoint", endpoints))
    return render(
        request, "spend.html", shell,
        days=days_of(days, today), currencies=sorted({each.currency for each in days}), whole=whole, span_days=DAYS,
        tables=tables, most=MOST_ROWS,
    )  # fmt: skip


@router.get("/sellers")
async def sellers(request: Request, shell: ShellNeeded, services: ServicesNeeded, span: SpanWanted) -> Response:
    """How sellers did: outcomes and how long they took."""
    found = await services.readings.sellers(since=span.since)
    return render(request, "sellers.html", shell, sellers=found, span=span.name, spans=list(SPANS))


def days_of(rows: Iterable[Spend], today: datetime) -> Sequence[Day]:
    """Each of the last days with what was spent, oldest first."""
    by_day: defaultdict[str, dict[Currency, Money]] = defaultdict(dict)
    for row in rows:
        by_day[str(row.key)][row.currency] = row.final
    days = (today - timedelta(days=back) for back in reversed(range(DAYS)))
    return [Day(day, by_day[f"{day:%F}"]) for day in days]
