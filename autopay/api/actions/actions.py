"""`Actions`: everything that a caller can do, each recorded in the audit chain with who ordered it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from autopay.api.access.orders import ordered
from autopay.client.async_client import delivered
from autopay.client.direct import DirectBackend
from autopay.client.errors import InvalidCall
from autopay.client.requests.asking_again import ask_again
from autopay.client.requests.decisions import decide_approval
from autopay.client.requests.purchasing import require_agent
from autopay.client.values import units
from autopay.delegation.connections import notify_agent
from autopay.domain.request import CLOSED

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from autopay.api.access.actor import Actor
    from autopay.client.requests.connections import Connections
    from autopay.client.requests.order import RequestOutcome
    from autopay.client.values import Ask, Purchase
    from autopay.domain.policy.records import ApprovalRecord

MOST_REASON_CHARS = 500


class Actions:
    """What callers do, by connections that may write.

    What is not recorded is not done: the order is in the ledger before anything else happens, its outcome after. Every
    method raises an `AutopayError` or a `Fault` when it cannot do what it says; `AgentNotRunning` where only a running
    agent can.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._backend = DirectBackend(connections.settings, connections)

    async def close(self) -> None:
        """Close what quotes and purchases have opened; the connections are their owner's."""
        await self._backend.close()

    async def pause(self, actor: Actor, agent: str, reason: str | None = None) -> UUID:
        """Let the agent start nothing new; the id of the order. Its status and the Temporal UI show the reason."""
        said = checked_reason(reason) or f"by {actor.name}"
        async with self._ordered(actor, "pause", agent=agent, details={"reason": said}) as order:
            await self._backend.pause(agent, said)
        return order

    async def resume(self, actor: Actor, agent: str) -> UUID:
        """Let a paused agent go on; the id of the order."""
        async with self._ordered(actor, "resume", agent=agent) as order:
            await self._backend.resume(agent)
        return order

    async def stop(self, actor: Actor, agent: str) -> UUID:
        """Stop the agent, once its payments are final or failed; the id of the order."""
        async with self._ordered(actor, "stop", agent=agent) as order:
            await (await self._connections.agent(agent)).signal("stop")
        return order

    async def request(self, actor: Actor, agent: str, ask: Ask) -> Purchase:
        """Have the agent buy that; how it stands after `ask.timeout_s` when it is not over by then.

        Raises:
            PurchaseRefused, PurchaseFailed, PurchaseUndelivered: it is over, without content.
            TermsDiffer: the id belongs to a request with other terms.
        """
        details: dict[str, Any] = {"url": ask.url, "method": ask.method}
        if ask.max_price_atomic is not None:
            details["max_price"] = str(units(ask.max_price_atomic))
        await require_agent(self._connections, agent)
        async with self._ordered(actor, "request", agent=agent, target=ask.id, details=details):
            purchase = await self._backend.buy(agent, ask)
        if purchase.status not in CLOSED and not purchase.terms_differ:
            return purchase
        return delivered(purchase)

    async def cancel(self, actor: Actor, agent: str, request_id: str) -> UUID:
        """Pay nothing more for a request than is signed; the id of the order."""
        await require_agent(self._connections, agent)
        async with self._ordered(actor, "cancel", agent=agent, target=request_id) as order:
            await self._backend.cancel(agent, request_id)
        return order

    async def approve(self, actor: Actor, approval_id: UUID, terms_hash: str | None = None) -> bool:
        """Approve a payment on exactly its terms; False when it was approved before.

        Args:
            actor: who decides.
            approval_id: the question.
            terms_hash: what the person has seen; with other terms nothing is approved.
        """
        return await self._decide(actor, approval_id, terms_hash, approve=True)

    async def deny(self, actor: Actor, approval_id: UUID, terms_hash: str | None = None) -> bool:
        """Deny a payment: nothing is paid; False when it was denied before. See `approve`."""
        return await self._decide(actor, approval_id, terms_hash, approve=False)

    async def retry(self, actor: Actor, agent: str, request_id: str, timeout_s: float) -> RequestOutcome | None:
        """Ask the seller once more for what was paid; None when it has not answered within that time."""
        await require_agent(self._connections, agent)
        async with self._ordered(actor, "retry", agent=agent, target=request_id):
            return await ask_again(self._connections, agent, request_id, timeout_s)

    async def revoke(self, actor: Actor, session_id: UUID) -> bool:
        """End a session: its key is destroyed, and pays nothing any more; False when it had ended before.

        What its account holds stays there until its owner signs for it.
        """
        ledger = self._connections.ledger
        session = await ledger.sessions.get(session_id)
        if session is None:
            raise InvalidCall(f"there is no session {session_id}", "unknown_session")
        async with self._ordered(actor, "revoke", agent=session.agent, target=str(session_id)):
            has_ended = await ledger.sessions.end(session_id)
        await notify_agent(session.agent, self._connections.agent(session.agent))
        return has_ended

    async def _decide(self, actor: Actor, approval_id: UUID, terms_hash: str | None, *, approve: bool) -> bool:
        row = await self._approval(approval_id)
        details = {"terms_hash": row.terms_hash, "price": str(units(row.terms.amount_atomic))}
        details |= {"currency": row.terms.currency.value, "pay_to": row.terms.pay_to, "request": row.terms.request_id}
        action = "approve" if approve else "deny"
        async with self._ordered(actor, action, agent=row.agent, target=str(approval_id), details=details):
            if terms_hash not in (None, row.terms_hash):
                raise InvalidCall("these are not the terms that are asked about: look at them again", "terms_differ")
            connections = self._connections
            return await decide_approval(
                connections.settings, connections.ledger, row, approve=approve, temporal=connections.temporal
            )

    async def _approval(self, approval_id: UUID) -> ApprovalRecord:
        row = await self._connections.ledger.policies.approval(approval_id)
        if row is None:
            raise InvalidCall(f"there is no approval {approval_id}", "unknown_approval")
        return row

    def _ordered(
        self,
        actor: Actor,
        action: str,
        *,
        agent: str,
        target: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> AbstractAsyncContextManager[UUID]:
        return ordered(self._connections.ledger, actor, action, agent=agent, target=target, details=details)


def checked_reason(reason: str | None) -> str | None:
    """The reason, if it can be kept and shown; None for none.

    Raises:
        InvalidCall: it cannot.
    """
    if reason is None or not reason.strip():
        return None
    if len(reason) > MOST_REASON_CHARS or not reason.isprintable():
        raise InvalidCall(f"reason: a line of at most {MOST_REASON_CHARS} printable characters", "wrong_argument")
    return reason.strip()
