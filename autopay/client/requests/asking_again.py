"""Asks a seller once more for what was paid: the recorded payment is sent again, and nothing is paid."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from autopay.client.errors import AgentNotAnswering, CallFailed, InvalidCall, start_worker, temporal_error
from autopay.client.requests.order import RequestOutcome
from autopay.client.requests.text import try_again, wait_command
from autopay.domain.errors import UnknownRequest
from autopay.domain.payment.payment import Settled
from autopay.domain.payment.steps import AttemptRef, PaymentOrder
from autopay.domain.request import RequestRecord, RequestResult, RequestStatus, x402_request_id
from autopay.domain.text.command_line import command_line
from autopay.temporal.outcome import outcome_of
from autopay.temporal.redelivery import redelivery_id, start_redelivery

if TYPE_CHECKING:
    from temporalio.client import Client

    from autopay.adapters.postgres import PostgresLedger
    from autopay.client.requests.connections import Connections


async def ask_again(connections: Connections, agent: str, request_id: str, timeout_s: float) -> RequestOutcome | None:
    """Send the recorded payment of that request again; None when the seller has not answered within `timeout_s`.

    Raises:
        InvalidCall: there is nothing to ask for; says why.
        AgentNotAnswering: no worker runs that could ask.
        CallFailed: the seller could not be asked.
    """
    ledger = connections.ledger
    ref = await _undelivered(ledger, agent, request_id)
    client = await connections.temporal()
    if not await (await connections.agent(agent)).has_worker():
        raise AgentNotAnswering(f"no worker runs to ask the seller; {start_worker()}")
    result = await _redeliver(client, connections.settings.task_queue, ref, timeout_s)
    if result is None:
        return None
    return RequestOutcome(result, await ledger.requests.content(ref.order.request_key))


async def _undelivered(ledger: PostgresLedger, agent: str, request_id: str) -> AttemptRef:
    """The final payment of an undelivered request."""
    key = x402_request_id(agent, request_id)
    try:
        record = await ledger.requests.get(key)
    except UnknownRequest:
        see = command_line("ledger", "disputes")
        message = f"agent {agent!r} has no request {request_id!r}; see: {see}"
        raise InvalidCall(message, "unknown_request") from None
    if not record.closed or record.result.status is not RequestStatus.UNDELIVERED:
        raise InvalidCall(f"request {request_id!r} of agent {agent!r} {_why_not(record)}", "not_undelivered")
    last = (await ledger.payments.recall(key)).last
    assert last is not None
    assert isinstance(last.outcome, Settled)
    order = PaymentOrder(
        agent=agent, request_id=request_id, request_key=key, url=record.spec.url, method=record.spec.method
    )
    return AttemptRef(order=order, number=last.number)


def _why_not(record: RequestRecord) -> str:
    show = command_line("show", record.spec.request_id, "--agent", record.agent)
    match record.result.status:
        case RequestStatus.DELIVERED | RequestStatus.FREE | RequestStatus.FRESH:
            return f"is delivered; to print it: {show}"
        case RequestStatus.REFUSED | RequestStatus.FAILED:
            return f"was not paid ({record.result.status.value}); to try again: {try_again(record.agent, record.spec)}"
        case _:
            return f"has not ended yet; to wait for its end: {wait_command(record.agent, record.spec.request_id)}"


async def _redeliver(client: Client, task_queue: str, ref: AttemptRef, timeout_s: float) -> RequestResult | None:
    try:
        handle = await start_redelivery(client, task_queue, ref)
        if handle is None:  # somebody asks already: that answer is ours, too
            handle = client.get_workflow_handle(redelivery_id(ref), result_type=RequestResult)
        async with asyncio.timeout(timeout_s):
            return await outcome_of(handle)
    except TimeoutError:
        return None
    except WorkflowFailureError as error:
        cause = error.cause
        why = f"{cause.type}: {cause.message}" if isinstance(cause, ApplicationError) else str(cause)
        failed = CallFailed(f"the seller could not be asked: {why}")
        failed.told = "the seller could not be asked"
        raise failed from None
    except RPCError as error:
        raise temporal_error(error) from None
