"""Cancels a request that waits or is under way, without losing a payment that has left."""

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.adapters.postgres import PostgresLedger
from autopay.client.agents.handle import AgentHandle
from autopay.client.errors import AgentNotRunning, InvalidCall, temporal_error
from autopay.client.requests.text import result_line
from autopay.domain.errors import UnknownRequest
from autopay.domain.request import payment_workflow_id, x402_request_id
from autopay.domain.text.command_line import command_line


async def require_open(ledger: PostgresLedger, agent: str, request_id: str) -> None:
    """See that there is something to cancel.

    Raises:
        InvalidCall: there is no such request, or it has ended.
    """
    try:
        record = await ledger.requests.get(x402_request_id(agent, request_id))
    except UnknownRequest:
        see = command_line("queue", agent)
        raise InvalidCall(f"agent {agent!r} has no request {request_id!r}; see: {see}", "unknown_request") from None
    if record.closed:
        raise InvalidCall(f"request {request_id!r} of agent {agent!r} has ended: {result_line(record.result)}", "ended")


async def cancel_request(client: Client, agent: AgentHandle, request_id: str) -> None:
    """Tell the agent; or the payment's own workflow, which goes on when its agent has ended.

    Raises:
        AutopayError: neither runs, or Temporal answers with an error.
    """
    try:
        await agent.signal("cancel", request_id)
    except AgentNotRunning:
        await _cancel_payment(client, agent.name, request_id)


async def _cancel_payment(client: Client, agent: str, request_id: str) -> None:
    try:
        await client.get_workflow_handle(payment_workflow_id(agent, request_id)).cancel()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise temporal_error(error) from None
        raise InvalidCall(f"{AgentNotRunning(agent)}; until then {request_id!r} waits in its queue") from None
