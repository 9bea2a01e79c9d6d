"""/api/audit and /api/ledger."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from autopay.api.filters import trail_filter
from autopay.api.models.base import Page
from autopay.api.models.ledger import LedgerState, TrailItem
from autopay.api.paging import After, Limit, checked_cursor, link_next
from autopay.api.services import ServicesNeeded
from autopay.domain.report.filter import Filter

router = APIRouter(tags=["ledger"])


@router.get("/audit")
async def audit(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    wanted: Annotated[Filter, Depends(trail_filter)],
    after: After = None,
    limit: Limit = 50,
) -> Page[TrailItem]:
    """The audit trail: transactions, requests and readings of balances as one timeline, newest first."""
    found = await services.readings.trail(wanted, after=checked_cursor(after), limit=limit)
    link_next(request, response, found)
    return found


@router.get("/ledger")
async def ledger(services: ServicesNeeded) -> LedgerState:
    """Whether payments may be signed, and the state of the ledger's proof.

    `autopay ledger verify` recomputes the chains; this only tells how long they are, and when they were anchored last.
    """
    return await services.readings.ledger()
