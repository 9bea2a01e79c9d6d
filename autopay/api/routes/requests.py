"""/api/requests, /api/disputes and /api/approvals: what was asked for, what is owed, what a person is asked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from autopay.api.etags import answered, etag_of
from autopay.api.filters import Agent, agent_of, request_filter
from autopay.api.models import requests as models
from autopay.api.models.base import Page
from autopay.api.paging import After, Limit, checked_cursor, link_next
from autopay.api.problems import problem
from autopay.api.services import ServicesNeeded
from autopay.domain.report.filter import Filter
from autopay.domain.request import CLOSED
from autopay.gateway.answers import problem_response

router = APIRouter(tags=["requests"])

RequestId = Annotated[str, Path(max_length=120, description="The caller's id of the request.", examples=["monday-1"])]
Owner = Annotated[
    str | None,
    Query(max_length=60, description="Its agent; needed where several have a request of that id.", examples=["trader"]),
]


@router.get("/requests")
async def requests(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    wanted: Annotated[Filter, Depends(request_filter)],
    after: After = None,
    limit: Limit = 50,
) -> Page[models.RequestItem]:
    """Requests, newest first: also those that were free, fresh, refused or failed, which no payment was made for."""
    found = await services.readings.requests(wanted, after=checked_cursor(after), limit=limit)
    link_next(request, response, found)
    return found


@router.get("/requests/{request_id}", response_model=models.Request, responses={304: {"description": "You have it."}})
async def one_request(
    request: Request, services: ServicesNeeded, request_id: RequestId, agent: Owner = None
) -> Response:
    """One request: its payments, receipts and timeline, and what it bought.

    One that has ended has an ETag, so that asking again costs nothing while nothing changed.
    """
    found = await services.readings.request(request_id, agent_of(agent))
    body = found.model_dump_json().encode()
    headers = {"ETag": etag_of(body), "Cache-Control": "no-cache"} if found.status in CLOSED else {}
    return answered(request, body, headers, "application/json")


@router.get(
    "/requests/{request_id}/content",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, 304: {"description": "You have it."}},
)
async def content(request: Request, services: ServicesNeeded, request_id: RequestId, agent: Owner = None) -> Response:
    """What was bought, byte for byte, as a download: a seller's bytes are never shown as a page of this server.

    Their own type is in `Autopay-Content-Type`.
    """
    stored = await services.readings.content(request_id, agent_of(agent))
    if stored is None:
        return problem_response(problem(404, "no_content", "this request has no content (yet)", title="No content"))
    own = stored.content_type
    headers = {
        "ETag": etag_of(stored.body),
        "Cache-Control": "no-cache",
        "Content-Disposition": "attachment",
        **({"Autopay-Content-Type": own} if own.isascii() and own.isprintable() else {}),
    }
    return answered(request, stored.body, headers, "application/octet-stream")


@router.get("/disputes")
async def disputes(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    agent: Agent = None,
    after: After = None,
    limit: Limit = 50,
) -> Page[models.Dispute]:
    """What was paid and not delivered: first those whose payment still asks the seller, then the newest.

    `POST /api/requests/{id}/retry` asks the seller once more, without paying.
    """
    found = await services.readings.disputes(agent_of(agent), after=checked_cursor(after), limit=limit)
    link_next(request, response, found)
    return found


@router.get("/approvals")
async def approvals(
    request: Request,
    response: Response,
    services: ServicesNeeded,
    agent: Agent = None,
    everything: Annotated[
        bool, Query(alias="all", description="Also those that were decided or have expired.")
    ] = False,
    after: After = None,
    limit: Limit = 50,
) -> Page[models.Approval]:
    """Payments that wait for a person, with their exact terms, newest first."""
    found = await services.readings.approvals(
        agent_of(agent), undecided=not everything, after=checked_cursor(after), limit=limit
    )
    link_next(request, response, found)
    return found
