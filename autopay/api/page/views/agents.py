"""`/agents` and `/agents/{name}`: what each does, why, what it can spend, and its balance over time."""

from __future__ import annotations

import asyncio
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
from autopay.api.page.frame.state import StateNeeded
from autopay.api.page.frame.templating import render
from autopay.api.page.parts.flow import flow_views
from autopay.api.page.views.queries import SPANS, SpanWanted
from autopay.api.services import ServicesNeeded
from autopay.client.asking import checked_agent
from autopay.domain.money import Currency

if TYPE_CHECKING:
    from autopay.api.models.money_reports import Balance, Session
    from autopay.api.services import Services

POINTS = 240
"""About so many points has a chart of balances."""

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True)
class Point:
    """A point of a balance's chart; `mark` names what happened there."""

    at: datetime
    spendable: Money | None
    threshold: Money | None
    mark: str | None


@router.get("/agents")
async def agents(request: Request, shell: ShellNeeded, state: StateNeeded) -> Response:
    """All agents."""
    return render(request, "agents.html", shell, agents=await state.agents())


@router.get("/agents/{name}")
async def agent(
    request: Request, shell: ShellNeeded, services: ServicesNeeded, name: str, span: SpanWanted
) -> Response:
    """One agent."""
    checked_agent(name)
    readings = services.readings
    found, flow, balances, sessions = await asyncio.gather(
        readings.agent(name),
        services.sources.ledger.reports.flow(name, open_limit=12, ended_limit=8),
        read_balances(services, name, span.since),
        readings.sessions(name, limit=20),
    )
    charts = {currency: points_of(currency, balances, sessions.items, span.since) for currency in Currency}
    return render(
        request, "agent.html", shell,
        agent=found, rows=flow_views(flow), charts={name: rows for name, rows in charts.items() if rows},
        span=span.name, spans=list(SPANS),
    )  # fmt: skip


async def read_balances(services: Services, name: str, since: datetime) -> Sequence[Balance]:
    """Every reading since then, or the last one alone of each span of time where there are too many."""
    readings = services.readings
    page = await readings.balances(name, since=since, limit=2 * POINTS)
    if page.next is not None:
        every = timedelta(seconds=max(1, int((datetime.now(UTC) - since).total_seconds() / POINTS)))
        page = await readings.balances(name, since=since, every=every, limit=2 * POINTS)
    return page.items


def points_of(
    currency: Currency, balances: Iterable[Balance], sessions: Iterable[Session], since: datetime
) -> Sequence[Point]:
    """A currency's readings, oldest first, with where sessions were granted and where the agent paused."""
    points: list[Point] = []
    paused = False
    for each in sorted((each for each in balances if each.spendable.currency is currency), key=lambda each: each.at):
        begins = each.status == "PAUSED" and not paused
        paused = each.status == "PAUSED"
        points.append(Point(each.at, each.spendable, each.threshold, "paused" if begins else None))
    if not points:
        return ()
    granted = (
        Point(each.granted_at, None, None, "granted")
        for each in sessions
        if each.allowance.currency is currency and each.granted_at >= since
    )
    return sorted([*points, *granted], key=lambda point: point.at)
