"""What callers can do. Each order is recorded in the audit chain with who gave it, before it is carried out."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from starlette.responses import JSONResponse

from autopay.api.access.routes import Operator
from autopay.api.models.acts import (
    Bought,
    BuyBody,
    Decided,
    DecisionBody,
    Ordered,
    PauseBody,
    RetryBody,
    Revoked,
)
from autopay.api.models.base import money_or_none
from autopay.api.readings.places import content_path, request_path
from autopay.api.request_ids import id_in_header, required_id
from autopay.api.routes.requests import Owner, RequestId
from autopay.api.services import ServicesNeeded
from autopay.client.asking import checked_agent, make_ask
from autopay.client.values import Purchase
from autopay.domain.money import to_atomic
from autopay.domain.request import CLOSED, RequestResult
from autopay.domain.text.command_line import command_line

router = APIRouter(tags=["acts"])

AgentName = Annotated[str, Path(max_length=60, description="The agent's name.", examples=["trader"])]
SessionId = Annotated[UUID, Path(description="The session.")]
ApprovalId = Annotated[UUID, Path(description="The question.")]
AGAIN_S = 2
"""When to look again at what is not over."""

ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {"model": Bought, "description": "Not over yet: `Location` is where to look."}
}


@router.post("/agents/{name}/pause", status_code=202)
async def pause(services: ServicesNeeded, actor: Operator, name: AgentName, body: PauseBody | None = None) -> Ordered:
    """Pause an agent: it buys nothing new. What is in flight finishes, and what waits is kept."""
    agent = checked_agent(name)
    order = await services.actions.pause(actor, agent, None if body is None else body.reason)
    return Ordered(order=order, action="pause", agent=agent)


@router.post("/agents/{name}/resume", status_code=202)
async def resume(services: ServicesNeeded, actor: Operator, name: AgentName) -> Ordered:
    """Let a paused agent go on. It reads its balances at once, and asks the chain at once."""
    agent = checked_agent(name)
    return Ordered(order=await services.actions.resume(actor, agent), action="resume", agent=agent)


@router.post("/agents/{name}/stop", status_code=202)
async def stop(services: ServicesNeeded, actor: Operator, name: AgentName) -> Ordered:
    """Stop an agent, once its payments are final or failed. What waits stays in its queue; `launch` starts it again."""
    agent = checked_agent(name)
    return Ordered(order=await services.actions.stop(actor, agent), action="stop", agent=agent)


@router.post("/requests", response_model=Bought, responses=ACCEPTED)
async def buy(
    services: ServicesNeeded, actor: Operator, body: BuyBody, key: Annotated[str | None, Depends(id_in_header)]
) -> Response:
    """Have an agent buy the data at a URL, within its limits, once.

    It needs an id: `id`, or the header `Idempotency-Key`. The same id again never pays twice: it answers how the
    request stands. What was refused or failed is a problem, whose `receipt` says what was paid, if anything was.
    """
    ask = make_ask(
        body.url,
        request_id=required_id(body.id, key),
        method=body.method,
        headers=body.headers,
        content=body.content,
        json_content=body.json_content,
        max_price=body.max_price,
        currency=body.currency,
        max_age=body.max_age,
        timeout_s=body.wait,
    )
    return _answer(await services.actions.request(actor, body.agent, ask))


@router.post("/requests/{request_id}/cancel", status_code=202)
async def cancel(services: ServicesNeeded, actor: Operator, request_id: RequestId, agent: Owner = None) -> Ordered:
    """Cancel a request: nothing more is signed for it. A payment that is signed already is followed to its end."""
    found = await services.readings.find(request_id, None if agent is None else checked_agent(agent))
    order = await services.actions.cancel(actor, found.agent, found.request_id)
    return Ordered(order=order, action="cancel", agent=found.agent, target=found.request_id)


@router.post("/requests/{request_id}/retry", response_model=Bought, responses=ACCEPTED)
async def retry(
    services: ServicesNeeded,
    actor: Operator,
    request_id: RequestId,
    agent: Owner = None,
    body: RetryBody | None = None,
) -> Response:
    """Ask the seller once more for what was paid and not delivered; nothing is paid again."""
    found = await services.readings.find(request_id, None if agent is None else checked_agent(agent))
    wait_s = (body or RetryBody()).wait
    outcome = await services.actions.retry(actor, found.agent, found.request_id, wait_s)
    if outcome is None:
        stands = await services.sources.ledger.requests.result(found.key)
        return _bought_answer(_of_result(found.agent, stands, None), is_over=False)
    size = None if outcome.content is None else len(outcome.content.body)
    return _bought_answer(_of_result(found.agent, outcome.result, size), is_over=True)


@router.post("/approvals/{approval_id}/approve")
async def approve(
    services: ServicesNeeded, actor: Operator, approval_id: ApprovalId, body: DecisionBody | None = None
) -> Decided:
    """Approve a payment, on exactly the terms that are shown. The limits of policy and session still hold."""
    seen = None if body is None else body.terms_hash
    is_new = await services.actions.approve(actor, approval_id, seen)
    return Decided(approval=approval_id, decision="approved", is_new=is_new)


@router.post("/approvals/{approval_id}/deny")
async def deny(
    services: ServicesNeeded, actor: Operator, approval_id: ApprovalId, body: DecisionBody | None = None
) -> Decided:
    """Deny a payment: its request is refused, and nothing is paid. Takes back an approval until it is signed."""
    seen = None if body is None else body.terms_hash
    is_new = await services.actions.deny(actor, approval_id, seen)
    return Decided(approval=approval_id, decision="denied", is_new=is_new)


@router.post("/sessions/{session_id}/revoke")
async def revoke(services: ServicesNeeded, actor: Operator, session_id: SessionId) -> Revoked:
    """End a session: its key is destroyed at once. What its account holds goes back when its owner signs for that."""
    is_new = await services.actions.revoke(actor, session_id)
    advice = f"its owner gets back what is left: {command_line('session', 'revoke', session_id)}"
    return Revoked(session=session_id, is_new=is_new, advice=advice)


def _answer(purchase: Purchase) -> Response:
    body = purchase.content
    told = Bought(
        id=purchase.id,
        agent=purchase.agent,
        status=purchase.status,
        price=None if purchase.price is None else money_or_none(to_atomic(purchase.price), purchase.currency),
        pay_to=purchase.pay_to,
        transaction=purchase.transaction,
        http_status=purchase.http_status,
        content_type=purchase.content_type,
        content_complete=purchase.content_complete,
        size=None if body is None else len(body),
        content=None if body is None else content_path(purchase.agent, purchase.id),
        content_of=purchase.content_of,
        content_at=purchase.content_at,
        request=request_path(purchase.agent, purchase.id),
        message=purchase.pruned or (None if purchase.error is None else purchase.error.message),
    )
    return _bought_answer(told, is_over=purchase.status in CLOSED)


def _of_result(agent: str, result: RequestResult, size: int | None) -> Bought:
    return Bought(
        id=result.request_id,
        agent=agent,
        status=result.status,
        price=money_or_none(result.price_atomic, result.currency),
        pay_to=result.pay_to,
        transaction=result.transaction,
        http_status=result.http_status,
        content_type=None,
        content_complete=result.content_complete,
        size=size,
        content=None if size is None else content_path(agent, result.request_id),
        content_of=result.content_of,
        content_at=None,
        request=request_path(agent, result.request_id),
        message=None if result.error is None else result.error.message,
    )


def _bought_answer(told: Bought, *, is_over: bool) -> Response:
    headers = {} if is_over else {"Location": told.request, "Retry-After": str(AGAIN_S)}
    return JSONResponse(told.model_dump(mode="json"), 200 if is_over else 202, headers)
