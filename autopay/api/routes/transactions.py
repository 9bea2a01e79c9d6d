"""/api/transactions."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from autopay.api.filters import payment_filter
from autopay.api.models.base import Page
from autopay.api.models.payments import Payment
from autopay.api.paging import After, Limit, checked_cursor, link_next
from autopay.api.services import ServicesNeeded
from autopay.domain.report.filter import Filter

router = APIRouter(tags=["money"])


@router.get("/transactions")
async def transactions(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    wanted: Annotated[Filter, Depends(payment_filter)],
    after: After = None,
    limit: Limit = 50,
) -> Page[Payment]:
    """Payments, newest first: what was signed, for which request, and what became of it.

    A payment is recorded before it leaves. PENDING and RETRYING are not yet known, SUCCESS is confirmed, VERIFIED final
    on chain; FAILED is proven to have cost nothing.
    """
    found = await services.readings.payments(wanted, after=checked_cursor(after), limit=limit)
    link_next(request, response, found)
    return found
