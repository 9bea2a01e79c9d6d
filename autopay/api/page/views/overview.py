"""`/`: what is spent, by whom and for what; what needs a person; agents; payments as they happen."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from autopay.api.page.frame.routing import PageRoute
from autopay.api.page.frame.shell import ShellNeeded
from autopay.api.page.frame.state import StateNeeded
from autopay.api.page.frame.templating import render
from autopay.api.page.parts.attention import Found, Todo, things_to_do
from autopay.api.page.parts.flow import flow_views
from autopay.api.page.parts.proof import read_proof
from autopay.api.page.parts.summary import AT_WORK, headline
from autopay.api.page.parts.waiting import MOST_SESSIONS
from autopay.api.services import ServicesNeeded
from autopay.domain.report.filter import NOT_ENDED, Cursor

if TYPE_CHECKING:
    from autopay.api.models.agents import AgentItem
    from autopay.api.page.frame.state import PageState
    from autopay.api.services import Services


MOST_AGENTS = 12
MOST_QUESTIONS = 20
"""So many questions are asked here; the others are counted."""

ENDED = str(Cursor(at=NOT_ENDED, row_id=UUID(int=0)))
"""The place in the list of disputes behind which only ended ones are."""

RECENT = 60
"""Ended requests that are looked at for data that is asked for in vain."""

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/")
async def overview(request: Request, shell: ShellNeeded, services: ServicesNeeded, state: StateNeeded) -> Response:
    """The overview."""
    return render(request, "overview.html", shell, **await read_overview(services, state))


@router.get("/flow")
async def flow(request: Request, shell: ShellNeeded, services: ServicesNeeded) -> Response:
    """Only the payments on their way, which change the most often."""
    rows = flow_views(await services.sources.ledger.reports.flow())
    return render(request, "flow_only.html", shell, rows=rows)


async def read_overview(services: Services, state: PageState) -> dict[str, Any]:
    """What the overview shows."""
    agents, spending, todos, rows, proof = await asyncio.gather(
        state.agents(),
        state.spending(),
        read_todos(services, state),
        services.sources.ledger.reports.flow(),
        read_proof(services),
    )
    return {
        "headline": headline(agents.items, len({each.host for each in flow_views(rows)}), len(todos)),
        "agents": agents,
        "first_agents": sorted(agents.items, key=_urgency)[:MOST_AGENTS],
        "spending": spending,
        "todos": todos,
        "rows": flow_views(rows),
        "proof": proof,
    }


def _urgency(agent: AgentItem) -> tuple[bool, int, str]:
    """Those that do not run come first, then those that spent most today."""
    return agent.state in AT_WORK, -sum(each.atomic for each in agent.spent_today), agent.name


async def read_todos(services: Services, state: PageState) -> list[Todo]:
    """What needs a person."""
    ledger = services.sources.ledger
    waiting = await state.waiting()
    agents, approvals, disputes, sessions, fence, recent = await asyncio.gather(
        state.agents(),
        ledger.policies.approvals(limit=MOST_QUESTIONS),
        ledger.reports.disputes(after=ENDED, limit=1),
        ledger.lists.sessions(active=True, limit=MOST_SESSIONS),
        ledger.fence.current(),
        ledger.reports.flow(open_limit=0, ended_limit=RECENT),
    )
    found = Found(
        agents.items,
        approvals,
        waiting.approvals - len(approvals),
        disputes.rows,
        waiting.disputes_ended,
        sessions.rows,
        fence,
        agents.problem,
        recent,
    )
    return things_to_do(found, datetime.now(UTC))
