"""`/payments`: every signed payment, newest first, with filters."""

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
from autopay.client.errors import InvalidCall
from autopay.domain.payment.status import TransactionStatus

ROWS = 50

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/payments")
async def payments(request: Request, shell: ShellNeeded, services: ServicesNeeded, wanted: RowsWanted) -> Response:
    """The list."""
    unknown = set(wanted.rows.statuses) - set(TransactionStatus)
    if unknown:
        raise InvalidCall(f"status: {min(unknown)!r} is none of {', '.join(TransactionStatus)}", "wrong_argument")
    page = await services.readings.payments(wanted.rows, after=wanted.after, limit=ROWS)
    older = urlencode({**{name: word for name, word in wanted.words.items() if word}, "after": page.next or ""})
    return render(
        request, "payments.html", shell,
        page=page, wanted=wanted, older=older, statuses=list(TransactionStatus), live=wanted.after is None,
    )  # fmt: skip
