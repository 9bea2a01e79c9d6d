"""/api/sessions/grants and /api/sessions/revokes: a wallet signs what is drafted here, and gives it back."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from autopay.api.access.routes import Operator
from autopay.api.delegation.models import (
    GrantedOrRevoked,
    NewGrant,
    RevokeOrder,
    SignedOrder,
    ToSign,
    ToSignOrRevoked,
)
from autopay.api.delegation.orders import DelegationOrders
from autopay.api.services import ServicesNeeded

router = APIRouter(tags=["sessions"])


@router.post("/sessions/grants", status_code=201)
async def draft_a_grant(new: NewGrant, services: ServicesNeeded, actor: Operator) -> ToSign:
    """Make a session that waits for its owner, and the transaction that its owner is to sign.

    The transaction opens an account of the owner's for this session alone, moves the allowance into it and lets the
    session's new key pay from it. The key never leaves the server. Nothing can be paid before the chain shows it.
    """
    return await DelegationOrders(services, actor).draft_grant(new)


@router.post("/sessions/grants/{session_id}/transaction")
async def draft_a_grant_again(session_id: UUID, services: ServicesNeeded, actor: Operator) -> ToSign:
    """A fresh transaction for a session that waits, as a transaction can be sent for about a minute only.

    The one before it is accepted no more.
    """
    return await DelegationOrders(services, actor).draft_grant_again(session_id)


@router.post("/sessions/grants/{session_id}/signed")
async def submit_a_grant(
    session_id: UUID, signed: SignedOrder, services: ServicesNeeded, actor: Operator
) -> GrantedOrRevoked:
    """Check what the owner's wallet signed, send it, and let the session pay once the chain shows it.

    A wallet may have added assertions of the Lighthouse program and a compute budget; whatever else it changed is
    refused, and nothing is sent. The same again after a failure finds out what became of it.
    """
    return await DelegationOrders(services, actor).submit(session_id, "grant", signed.transaction)


@router.post("/sessions/revokes")
async def draft_a_revoke(order: RevokeOrder, services: ServicesNeeded, actor: Operator) -> ToSignOrRevoked:
    """End a session now, and make the transaction by which its owner gets the rest of the allowance back.

    The session's key is destroyed at once. While payments of it are open its money stays where it is, as it can prove
    what became of them.
    """
    return await DelegationOrders(services, actor).draft_revoke(order.session_id)


@router.post("/sessions/revokes/{session_id}/signed")
async def submit_a_revoke(
    session_id: UUID, signed: SignedOrder, services: ServicesNeeded, actor: Operator
) -> GrantedOrRevoked:
    """Check what the owner's wallet signed, and send it. The same again after a failure finds out what became of it."""
    return await DelegationOrders(services, actor).submit(session_id, "revoke", signed.transaction)
