"""Hands requests to agents for callers that no person watches: whoever is away is asked again by Temporal."""

import asyncio

from temporalio.client import (
    Client,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from autopay.domain.agent.status import Accepted
from autopay.domain.errors import TransientFault
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import RequestSpec, agent_workflow_id, payment_workflow_id
from autopay.domain.values import Value
from autopay.temporal.nexus.boundary import UNREADABLE

ANSWER_S = 15
"""How long an agent may take to accept a request."""

NOT_RUNNING = "agent_not_running"
"""The stable name of the reason when no workflow of that agent runs."""

PASSING = frozenset({"ledger_unavailable", "step_timed_out", UNREADABLE})
"""Reasons for which an agent does not take a request now, and will take the same later."""

MAY_CHANGE = frozenset({NOT_RUNNING, RefusalReason.QUEUE_FULL.value, RefusalReason.AGENT_STOPPED.value})
"""Reasons for which a request was not accepted that a later one may not meet; nothing of it was recorded."""


class AgentSilent(TransientFault):
    """The agent does not answer: no worker runs, or its workers are busy."""


class NotAccepted(Value):
    """The agent did not take the request, for a reason with a stable name."""

    type: str
    message: str


async def ask_agent(client: Client, agent: str, spec: RequestSpec) -> Accepted | NotAccepted:
    """Have the agent take the request; the same one again is not taken twice.

    Raises:
        AgentSilent: it did not answer, and may have taken it all the same.
    """
    handle = client.get_workflow_handle(agent_workflow_id(agent))
    try:
        async with asyncio.timeout(ANSWER_S):
            accepted: Accepted = await handle.execute_update("request", spec, result_type=Accepted)
            return accepted
    except WorkflowUpdateFailedError as failed:
        cause: BaseException = failed.cause
        kind = cause.type if isinstance(cause, ApplicationError) else None
        message = cause.message if isinstance(cause, ApplicationError) else str(cause)
        if kind is None or kind in PASSING:
            raise AgentSilent(f"{agent}: {message}") from None
        return NotAccepted(type=kind, message=message)
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        raise AgentSilent(agent) from None
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return NotAccepted(type=NOT_RUNNING, message=f"agent {agent!r} is not running")
        raise AgentSilent(f"{agent}: {error.message}") from None


async def cancel_request(client: Client, agent: str, request_id: str) -> bool:
    """Cancel the request, as a person does; False when neither its agent nor its payment runs: nobody will end it.

    Raises:
        RPCError: Temporal does not answer.
    """
    agents = client.get_workflow_handle(agent_workflow_id(agent))
    try:
        await agents.signal("cancel", request_id)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
    else:
        return True
    try:
        await client.get_workflow_handle(payment_workflow_id(agent, request_id)).cancel()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True
