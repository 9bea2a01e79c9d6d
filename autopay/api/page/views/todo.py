"""`/approvals`, `/disputes`, `/sessions`: what waits for a person, or soon will."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from autopay.api.page.frame.routing import PageRoute
from autopay.api.page.frame.shell import ShellNeeded
from autopay.api.page.frame.templating import render
from autopay.api.page.parts.endings import is_near
from autopay.api.page.views.queries import After
from autopay.api.paging import checked_cursor
from autopay.api.services import ServicesNeeded

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/approvals")
async def approvals(request: Request, shell: ShellNeeded, services: ServicesNeeded, after: After = "") -> Response:
    """Questions that are open, with their exact terms and two buttons; below them those of before."""
    newest = await services.readings.approvals(limit=100)
    waiting = newest.items[::-1]  # what comes meanwhile stands below: no button moves under somebody's pointer
    everything = await services.readings.approvals(undecided=False, after=checked_cursor(after or None), limit=30)
    open_ids = {each.id for each in waiting}
    decided = [each for each in everything.items if each.id not in open_ids]
    return render(
        request, "approvals.html", shell, waiting=waiting, decided=decided, older=everything.next,
        more=newest.next is not None,
    )  # fmt: skip


@router.get("/disputes")
async def disputes(request: Request, shell: ShellNeeded, services: ServicesNeeded, after: After = "") -> Response:
    """What was paid and did not come."""
    page = await services.readings.disputes(after=checked_cursor(after or None), limit=100)
    return render(request, "disputes.html", shell, page=page, whole=not after and page.next is None)


@router.get("/sessions")
async def sessions(request: Request, shell: ShellNeeded, services: ServicesNeeded, after: After = "") -> Response:
    """Sessions, those that end soon marked."""
    page = await services.readings.sessions(after=checked_cursor(after or None), limit=50)
    now = datetime.now(UTC)
    ending = {each.id for each in page.items if each.state == "ACTIVE" and is_near(each.granted_at, each.ends_at, now)}
    return render(request, "sessions.html", shell, page=page, ending=ending)
