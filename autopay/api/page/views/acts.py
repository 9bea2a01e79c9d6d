"""What a person does on the page: each a form, whose answer is the view it came from. The gate has checked the form."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from autopay.api.access.orders import ordered
from autopay.api.access.routes import Operator, own_path
from autopay.api.page.frame.routing import PageRoute
from autopay.api.services import Services, ServicesNeeded
from autopay.client.asking import checked_agent
from autopay.client.errors import NotDecided
from autopay.client.requests.decisions import decide_approval, find_approval

Back = Annotated[str, Form(max_length=500)]

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/agents/{name}/pause")
async def pause(
    services: ServicesNeeded, actor: Operator, name: str, reason: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Pause an agent."""
    async with ordered(services.access.ledger, actor, "pause", agent=name, details={"reason": reason}):
        await _signal(services, name, "pause", reason or None)
    return _back(f"/agents/{name}", "paused")


@router.post("/agents/{name}/resume")
async def resume(services: ServicesNeeded, actor: Operator, name: str) -> Response:
    """Let an agent go on."""
    async with ordered(services.access.ledger, actor, "resume", agent=name):
        await _signal(services, name, "resume")
    return _back(f"/agents/{name}", "resumed")


@router.post("/agents/{name}/stop")
async def stop(services: ServicesNeeded, actor: Operator, name: str) -> Response:
    """Stop an agent, once its payments are final or failed."""
    async with ordered(services.access.ledger, actor, "stop", agent=name):
        await _signal(services, name, "stop")
    return _back(f"/agents/{name}", "stopped")


@router.post("/approvals/{approval_id}/{decision}")
async def decide(
    services: ServicesNeeded,
    actor: Operator,
    approval_id: str,
    decision: str,
    terms: Annotated[str, Form(max_length=100)],
    back: Back = "/approvals",
) -> Response:
    """Approve or deny exactly the terms that were shown."""
    approve = decision == "approve"
    if not approve and decision != "deny":
        return RedirectResponse("/approvals", 303)
    ledger = services.access.ledger
    row = await find_approval(ledger, approval_id)
    if row.terms_hash != terms:
        raise NotDecided("these are not the terms that are asked about now: load the page again, and read them")
    shown = {"terms_hash": terms}
    async with ordered(ledger, actor, decision, agent=row.agent, target=str(row.approval_id), details=shown):
        temporal = services.sources.connections.temporal
        await decide_approval(services.settings, ledger, row, approve=approve, temporal=temporal)
    return _back(back, "approved" if approve else "denied")


async def _signal(services: Services, name: str, signal: str, *arguments: str | None) -> None:
    agent = await services.sources.connections.agent(checked_agent(name))
    await agent.signal(signal, *arguments)


def _back(path: str, told: str) -> Response:
    """The view again, which says what was done."""
    own = urlsplit(own_path(path))
    return RedirectResponse(f"{own.path}?{urlencode({'told': told})}", 303)
