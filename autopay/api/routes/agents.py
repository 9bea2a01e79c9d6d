"""/api/agents."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from autopay.api.models.agents import Agent, AgentList
from autopay.api.paging import Limit, link_next
from autopay.api.services import ServicesNeeded
from autopay.client.asking import checked_agent

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


@router.get("/agents/{name}")
async def agent(services: ServicesNeeded, name: Annotated[str, Path(max_length=60, examples=["trader"])]) -> Agent:
    """One agent: what it does, why, what it can spend, and what would let it go on.

    State, watches, breakers and the order of its queue are the agent's own answer; where it does not answer, `problem`
    says why, and the rest is what the ledger knows.
    """
    return await services.readings.agent(checked_agent(name))
