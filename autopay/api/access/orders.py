"""Records what a caller orders, before it is done and after."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from autopay.adapters.postgres import PostgresLedger
from autopay.api.access.actor import Actor
from autopay.client.errors import AgentRefused, AutopayError, InvalidCall, NotDecided, told_text

_DECIDED = (AgentRefused, InvalidCall, NotDecided)
"""Errors by which somebody has said no, rather than something gone wrong."""


@asynccontextmanager
async def ordered(
    ledger: PostgresLedger,
    actor: Actor,
    action: str,
    *,
    agent: str | None = None,
    target: str | None = None,
    details: dict[str, Any] | None = None,
) -> AsyncIterator[UUID]:
    """Record that this caller orders that, then how the block ended; what is not recorded is not done.

    A block that is cancelled leaves an order without an outcome: nobody knows what became of it.

    Args:
        ledger: what it is recorded in.
        actor: who orders it.
        action: pause, resume, stop, request, approve, deny, retry, revoke, ...
        agent: whose chain of events it belongs to.
        target: what it is done to: the id of a request, an approval or a session.
        details: what else an auditor wants to know, as JSON, like a reason or terms. Never a secret.

    Raises:
        UnknownAgent: there is none of that name.
        LedgerUnavailable: it cannot be recorded.
    """
    actions = ledger.operator_actions
    action_id = await actions.begin(
        action,
        actor=actor.name,
        via=actor.via,
        token_id=actor.token_id,
        agent=agent,
        target=target,
        details=details,
    )
    try:
        yield action_id
    except _DECIDED as error:
        await actions.end(action_id, "refused", str(error))
        raise
    except AutopayError as error:
        await actions.end(action_id, "failed", told_text(error))
        raise
    except Exception as error:
        await actions.end(action_id, "failed", type(error).__name__)
        raise
    await actions.end(action_id, "done")
