"""/api/agents."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from autopay.api.models.agents import AgentList
from autopay.api.paging import Limit, link_next
from autopay.api.services import ServicesNeeded

router = APIRouter(tags=["agents"])


@router.get("/agents")
async def agents(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    state: Annotated[
        str | None, Query(max_length=40, description="Only those in this state.", examples=["paused"])
    ] = None,
    after: Annotated[str | None, Query(max_length=60, description="Only names behind this one.")] = None,
    limit: Limit = 200,
) -> AgentList:
    """Agents by name, with their state and money.

    State comes from each agent's workflow, money and counts from the ledger, as of this moment. Where only few agents
    run, each is asked itself, and says why it waits.
    """
    found = await services.readings.agents(state=state, after=after, limit=limit)
    link_next(request, response, found)
    return found
