"""Finds an approval, and sends a person's decision to the payment that waits for it."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NoReturn

from temporalio.client import Client, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from autopay.adapters.postgres import PostgresLedger
from autopay.client.agents.handle import ANSWER_TIMEOUT_S, AgentHandle
from autopay.client.errors import (
    AgentNotRunning,
    CallFailed,
    InvalidCall,
    NotDecided,
    NotDecidedYet,
    Unreachable,
    start_worker,
    temporal_error,
)
from autopay.client.requests.text import try_again
from autopay.domain.policy.policy import Decision
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import payment_workflow_id
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import utc
from autopay.settings import Settings
from autopay.temporal.connection import connect

PREFIX = re.compile(r"[0-9a-f]{4,32}")
POLL_S = 0.3
MOST_MEANT = 5
"""So many approvals are named where the beginning of an id may mean several."""

NOT_AWAITING = "not_awaiting"  # workflows/paid_request.py


def _see() -> str:
    return f"see: {command_line('approvals', '--all')}"


async def find_approval(ledger: PostgresLedger, text: str) -> ApprovalRecord:
    """The approval whose id begins with that text, dashes or not. Decided ones count as well: who types the beginning
    of an id means the one that was shown, not another of the same minute.

    Raises:
        AutopayError: there is none, or several, or it is no id.
    """
    wanted = text.lower().replace("-", "")
    if not PREFIX.fullmatch(wanted):
        raise InvalidCall(f"{text!r} is not an approval's id, or at least its first 4 characters; {_see()}")
    found = await ledger.policies.approvals_from(wanted, limit=MOST_MEANT + 1)
    if not found:
        raise InvalidCall(f"there is no approval {text!r}; {_see()}")
    if len(found) > 1:
        ids = ", ".join(str(row.approval_id) for row in found[:MOST_MEANT])
        many = f"more than {MOST_MEANT}" if len(found) > MOST_MEANT else len(found)
        raise InvalidCall(f"{text!r} may mean {many} approvals: {ids}{', …' if len(found) > MOST_MEANT else ''}")
    return found[0]


async def decide_approval(
    settings: Settings,
    ledger: PostgresLedger,
    row: ApprovalRecord,
    *,
    approve: bool,
    temporal: Callable[[], Awaitable[Client]] | None = None,
) -> bool:
    """Approve or deny; False when that had been decided before.

    The payment's workflow writes the decision into the ledger. Only an approval that is taken back is written here:
    the payment no longer waits, and reads the ledger before it signs. `temporal` gives the caller's client, if it has
    one.

    Raises:
        AutopayError: expired, decided otherwise, or no workflow or worker answers.
    """
    if row.status == ("APPROVED" if approve else "DENIED"):
        return False
    if row.status == "APPROVED":
        refused = await ledger.policies.decide(
            Decision(approval_id=row.approval_id, terms_hash=row.terms_hash, approve=False)
        )
        if refused is None:
            return True
        row = await find_approval(ledger, str(row.approval_id))
    await _require_open(ledger, row)
    client = await (temporal() if temporal is not None else connect(settings))
    agent = AgentHandle(client, row.agent, settings.task_queue)
    if approve and not await agent.is_running():
        raise NotDecided(f"nothing is approved for it: {AgentNotRunning(row.agent)}")
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await send_decision(client, ledger, row, "approve" if approve else "deny")
    except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
        why = f"its workers are busy, or ended; {start_worker()}" if await agent.has_worker() else start_worker()
        message = f"the payment does not answer: {why}; your decision may still arrive; {_see()}"
        raise Unreachable(message) from None
    return True


async def send_decision(client: Client, ledger: PostgresLedger, row: ApprovalRecord, name: str) -> None:
    """Send the update of that name; again and again while the payment does not wait yet, as after its restart.

    Raises:
        AutopayError: the payment is gone, asks for other terms, or no longer waits.
    """
    handle = client.get_workflow_handle(payment_workflow_id(row.agent, row.terms.request_id))
    while True:
        try:
            await handle.execute_update(name, row.terms_hash)
        except WorkflowUpdateFailedError as error:
            cause: BaseException = error.cause
            if not isinstance(cause, ApplicationError) or cause.type != NOT_AWAITING:
                _refuse(row, cause)
            await _require_open(ledger, await find_approval(ledger, str(row.approval_id)))
            await asyncio.sleep(POLL_S)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise temporal_error(error) from None
            await _require_open(ledger, await find_approval(ledger, str(row.approval_id)))
            message = (
                f"the workflow of request {row.terms.request_id!r} has ended and is started again within a minute: "
                "try again then"
            )
            raise NotDecidedYet(message) from None
        else:
            return


async def _require_open(ledger: PostgresLedger, row: ApprovalRecord) -> None:
    """End the command when the approval can no longer be decided."""
    request = f"request {row.terms.request_id!r} of agent {row.agent}"
    if row.status == "CONSUMED":
        raise NotDecided(f"it was approved, and the payment of {request} is signed already")
    if row.status in ("APPROVED", "DENIED"):
        raise NotDecided(f"it was {row.status.lower()} at {utc(row.decided_at)}")
    if row.status == "EXPIRED" or all(
        row.approval_id != each.approval_id for each in await ledger.policies.approvals(row.agent)
    ):
        record = await ledger.requests.get(row.request_key)
        again = f"to request it again: {try_again(row.agent, record.spec)}"
        if record.closed:
            raise NotDecided(f"{request} has ended: {record.result.status.value}; {again}")
        if row.is_withdrawn:
            message = f"nobody is asked any more since {utc(row.decided_at)}: the agent's phase was changed"
            raise NotDecided(message)
        raise NotDecided(f"the approval expired at {utc(row.expires_at)}; {again}")


def _refuse(row: ApprovalRecord, cause: BaseException) -> NoReturn:
    if isinstance(cause, ApplicationError) and cause.type == RefusalReason.TERMS_DIFFER:
        see = command_line("approvals", row.agent)
        raise NotDecided(f"the seller has changed its terms; approve the new ones instead: {see}")
    if isinstance(cause, ApplicationError) and cause.type in set(RefusalReason):
        raise NotDecided(cause.message)
    raise CallFailed(f"the payment could not take your decision: {cause}")
