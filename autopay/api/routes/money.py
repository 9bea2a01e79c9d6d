"""/api/balances, /api/spend, /api/sessions and /api/sellers."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from autopay.api.filters import Agent, Since, Until, agent_of, moment_of, payment_filter
from autopay.api.models.base import Page
from autopay.api.models.money_reports import Balance, Sellers, Session, Spend
from autopay.api.paging import MOST_ROWS, After, Limit, checked_cursor, checked_spend_cursor, link_next
from autopay.api.services import ServicesNeeded
from autopay.client.errors import InvalidCall
from autopay.domain.report.filter import Filter, SpendBy
from autopay.domain.text.durations import parse_whole_seconds

router = APIRouter(tags=["money"])


@router.get("/balances")
async def balances(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    agent: Agent = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[
        str | None,
        Query(max_length=20, description="Only the last reading of each such span, for a chart.", examples=["15m"]),
    ] = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[Balance]:
    """What agents could spend, over time: each reading of a balance, newest first."""
    found = await services.readings.balances(
        agent_of(agent),
        since=moment_of("since", since),
        until=moment_of("until", until),
        every=None if every is None else _span(every),
        after=checked_cursor(after),
        limit=limit,
    )
    link_next(request, response, found)
    return found


@router.get("/spend")
async def spend(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    wanted: Annotated[Filter, Depends(payment_filter)],
    by: Annotated[SpendBy | None, Query(description="One sum for each; days are UTC.")] = None,
    after: Annotated[
        str | None, Query(max_length=5_000, description="Only what comes after this sum: `next` of the page before.")
    ] = None,
    limit: Limit = MOST_ROWS,
) -> Page[Spend]:
    """What was spent, each currency and network by itself, ordered by what it is summed by.

    Final is spent for good on chain. Open may become final or fail. Failed payments cost nothing.
    """
    found = await services.readings.spend(wanted, by, after=checked_spend_cursor(after), limit=limit)
    link_next(request, response, found)
    return found


@router.get("/sessions")
async def sessions(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    agent: Agent = None,
    active: Annotated[bool, Query(description="Only those that may pay, or wait for their owner.")] = False,
    after: After = None,
    limit: Limit = 50,
) -> Page[Session]:
    """Keys that may pay, and what of their allowance is left; never the keys themselves. Newest first."""
    found = await services.readings.sessions(agent_of(agent), active=active, after=checked_cursor(after), limit=limit)
    link_next(request, response, found)
    return found


@router.get("/sellers")
async def sellers(
    services: ServicesNeeded,
    agent: Agent = None,
    since: Since = None,
    seller: Annotated[
        str | None, Query(max_length=260, description="Only this one.", examples=["api.example.com"])
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="How many; `more` says whether there are others.")] = 50,
) -> Sellers:
    """Sellers since then (by default for a day): how requests ended, what was paid, and how long deliveries took.

    Those that were asked most come first.
    """
    return await services.readings.sellers(
        agent=agent_of(agent), since=moment_of("since", since), seller=_text(seller), limit=limit
    )


def _span(text: str) -> timedelta:
    try:
        return timedelta(seconds=parse_whole_seconds(text))
    except ValueError as error:
        raise InvalidCall(f"every: {error}", "wrong_argument") from None


def _text(seller: str | None) -> str | None:
    if seller is not None and not (seller.isascii() and seller.isprintable()):
        raise InvalidCall("seller: not a host like api.example.com", "wrong_argument")
    return seller
