"""`/requests/{agent}/{id}`: one request with its payments, timeline, receipt and content."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from autopay.api.page.frame.routing import PageRoute
from autopay.api.page.frame.shell import ShellNeeded
from autopay.api.page.frame.templating import render
from autopay.api.page.parts.flow import flow_views
from autopay.api.services import ServicesNeeded
from autopay.client.asking import checked_agent

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/requests/{agent}/{request_id}")
async def request_view(
    request: Request, shell: ShellNeeded, services: ServicesNeeded, agent: str, request_id: str
) -> Response:
    """The request."""
    found = await services.readings.request(request_id, checked_agent(agent))
    (flow,) = flow_views(await services.sources.ledger.reports.flow_of(found.key))
    receipts = [(each.number, pretty(each.receipt)) for each in found.payments if each.receipt]
    return render(request, "request.html", shell, found=found, flow=flow, receipts=receipts)


def pretty(value: Any) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False)
