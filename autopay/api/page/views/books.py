"""`/audit`: the state of the proof, and the trail of everything that was recorded."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from autopay.api.page.frame.routing import PageRoute
from autopay.api.page.frame.shell import ShellNeeded
from autopay.api.page.frame.templating import render
from autopay.api.page.views.queries import RowsWanted
from autopay.api.services import ServicesNeeded

ROWS = 50

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/audit")
async def audit(request: Request, shell: ShellNeeded, services: ServicesNeeded, wanted: RowsWanted) -> Response:
    """The proof and the trail."""
    books = await services.readings.ledger()
    page = await services.readings.trail(wanted.rows, after=wanted.after, limit=ROWS)
    older = urlencode({**{name: word for name, word in wanted.words.items() if word}, "after": page.next or ""})
    return render(
        request, "audit.html", shell, books=books, page=page, wanted=wanted, older=older, live=wanted.after is None
    )
