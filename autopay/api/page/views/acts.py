"""What a person does on the page: each a form, whose answer is the view it came from. The gate has checked the form."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from autopay.api.access.routes import Operator, own_path
from autopay.api.page.frame.routing import PageRoute
from autopay.api.page.parts.flow import request_href
from autopay.api.services import ServicesNeeded
from autopay.client.asking import checked_agent

Back = Annotated[str, Form(max_length=500)]

RETRY_S = 8.0
"""How long the page waits for a seller that is asked again; it goes on without the page."""

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.post("/agents/{name}/pause")
async def pause(
    services: ServicesNeeded, actor: Operator, name: str, reason: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Pause an agent."""
    await services.actions.pause(actor, checked_agent(name), reason)
    return _back(f"/agents/{quote(name)}", "paused")


@router.post("/agents/{name}/resume")
async def resume(services: ServicesNeeded, actor: Operator, name: str) -> Response:
    """Let an agent go on."""
    await services.actions.resume(actor, checked_agent(name))
    return _back(f"/agents/{quote(name)}", "resumed")


@router.post("/agents/{name}/stop")
async def stop(services: ServicesNeeded, actor: Operator, name: str) -> Response:
    """Stop an agent, once its payments are final or failed."""
    await services.actions.stop(actor, checked_agent(name))
    return _back(f"/agents/{quote(name)}", "stopped")


@router.post("/approvals/{approval_id}/{decision}")
async def decide(
    services: ServicesNeeded,
    actor: Operator,
    approval_id: UUID,
    decision: Literal["approve", "deny"],
    terms: Annotated[str, Form(max_length=100)],
    back: Back = "/approvals",
) -> Response:
    """Approve or deny exactly the terms that were shown."""
    if decision == "approve":
        await services.actions.approve(actor, approval_id, terms)
        return _back(back, "approved")
    await services.actions.deny(actor, approval_id, terms)
    return _back(back, "denied")


@router.post("/requests/{agent}/{request_id}/retry")
async def retry(services: ServicesNeeded, actor: Operator, agent: str, request_id: str, back: Back = "") -> Response:
    """Ask the seller once more for what was paid."""
    found = await services.readings.find(request_id, checked_agent(agent))
    await services.actions.retry(actor, found.agent, found.request_id, RETRY_S)
    return _back(back or request_href(found.agent, found.request_id), "asked")


@router.post("/sessions/{session_id}/revoke")
async def revoke(services: ServicesNeeded, actor: Operator, session_id: UUID) -> Response:
    """End a session."""
    await services.actions.revoke(actor, session_id)
    return _back("/sessions", "revoked")


def _back(path: str, told: str) -> Response:
    """The view again, which says what was done."""
    own = urlsplit(own_path(path))
    return RedirectResponse(f"{own.path}?{urlencode({'told': told})}", 303)
