"""Asks a seller once more for what was paid, by a workflow of its own."""

import asyncio

from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from autopay.adapters.postgres import PostgresLedger
from autopay.cli.connect.connections import ledger_of
from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.cli.terminal.options import DEFAULT_AGENT
from autopay.client.agents.handle import AgentHandle
from autopay.client.errors import start_worker, temporal_error
from autopay.client.requests.order import RequestOutcome
from autopay.client.requests.text import retry_command, try_again, wait_command
from autopay.domain.errors import UnknownRequest
from autopay.domain.payment.payment import Settled
from autopay.domain.payment.steps import AttemptRef, PaymentOrder
from autopay.domain.request import RequestRecord, RequestResult, RequestStatus, x402_request_id
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings
from autopay.temporal.connection import connect
from autopay.temporal.outcome import outcome_of
from autopay.temporal.redelivery import redelivery_id, start_redelivery


async def ask_again(settings: Settings, agent: str | None, request: str, timeout_s: float) -> RequestOutcome:
    """Send the recorded payment of that request again and wait for the content, at most `timeout_s`."""
    async with ledger_of(settings) as ledger:
        name = agent or await _whose(ledger, request)
        ref = await _undelivered(ledger, name, request)
        client = await connect(settings)
        if not await AgentHandle(client, name, settings.task_queue).has_worker():
            raise CommandError(f"no worker runs to ask the seller; {start_worker()}", ExitCode.UNREACHABLE)
        result = await _redeliver(client, settings.task_queue, ref, timeout_s)
        stored = await ledger.requests.content(ref.order.request_key)
    return RequestOutcome(result, stored)


async def _whose(ledger: PostgresLedger, request: str) -> str:
    owners = [row.agent for row in await ledger.reports.disputes() if row.request_id == request]
    if len(owners) > 1:
        raise CommandError(f"several agents have an undelivered request {request!r}: say --agent {' or '.join(owners)}")
    return owners[0] if owners else DEFAULT_AGENT


async def _undelivered(ledger: PostgresLedger, agent: str, request: str) -> AttemptRef:
    """The final payment of an undelivered request.

    Raises:
        CommandError: the request has another status; says what to do about it.
    """
    key = x402_request_id(agent, request)
    try:
        record = await ledger.requests.get(key)
    except UnknownRequest:
        see = command_line("ledger", "disputes")
        raise CommandError(f"agent {agent!r} has no request {request!r}; see: {see}") from None
    if not record.closed or record.result.status is not RequestStatus.UNDELIVERED:
        raise CommandError(f"request {request!r} of agent {agent!r} {_why_not(record)}")
    last = (await ledger.payments.recall(key)).last
    assert last is not None
    assert isinstance(last.outcome, Settled)
    order = PaymentOrder(
        agent=agent, request_id=request, request_key=key, url=record.spec.url, method=record.spec.method
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


async def _redeliver(client: Client, task_queue: str, ref: AttemptRef, timeout_s: float) -> RequestResult:
    order = ref.order
    try:
        handle = await start_redelivery(client, task_queue, ref)
        if handle is None:  # somebody asks already: that answer is ours, too
            handle = client.get_workflow_handle(redelivery_id(ref), result_type=RequestResult)
        async with asyncio.timeout(timeout_s):
            return await outcome_of(handle)
    except TimeoutError:
        again = retry_command(order.agent, order.request_id)
        raise CommandError(f"the seller has not answered yet; to try again: {again}", ExitCode.UNFINISHED) from None
    except WorkflowFailureError as error:
        cause = error.cause
        why = f"{cause.type}: {cause.message}" if isinstance(cause, ApplicationError) else str(cause)
        raise CommandError(f"the seller could not be asked: {why}", ExitCode.FAULT) from None
    except RPCError as error:
        raise temporal_error(error) from None
