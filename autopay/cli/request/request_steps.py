"""Hands a request to its agent and waits for the result in the ledger."""

import contextlib
import time
from collections.abc import Callable
from uuid import UUID

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.vault import Vault
from autopay.cli.connect.agent_errors import AgentNotAnswering, AgentNotRunning, AgentRefused
from autopay.cli.connect.agent_handle import ANSWER_TIMEOUT_S, AgentHandle
from autopay.cli.connect.connections import known_agent, ledger_of, vault_of
from autopay.cli.connect.ledger_changes import ledger_changes
from autopay.cli.launch.launch_order import AlreadyRunning, LaunchOrder
from autopay.cli.request.order import RequestOrder, RequestOutcome
from autopay.cli.request.output import outcome_text
from autopay.cli.request.progress import ProgressReporter
from autopay.cli.terminal.console import ProgressCallback
from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.cli.terminal.formats import utc
from autopay.domain.errors import ContentPruned, UnknownRequest
from autopay.domain.money import Currency, to_atomic
from autopay.domain.phase import Phase
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import (
    CLOSED,
    RequestError,
    RequestRecord,
    RequestResult,
    RequestSpec,
    RequestStatus,
    x402_request_id,
)
from autopay.settings import Settings
from autopay.temporal.connection import connect

LOOK_S = 0.5
"""How often the ledger is looked at when it does not notify."""

TELL_S = 0.5
"""How often a person is told what is waited for."""

_DEFAULT_ALLOWANCE = to_atomic("10")
_DEFAULT_PAYMENTS = 10_000
_DEFAULT_DURATION_S = 30 * 86_400


async def make_request(
    settings: Settings,
    order: RequestOrder,
    on_approval: Callable[[ApprovalRecord], None],
    on_progress: ProgressCallback | None,
) -> RequestOutcome:
    """Hand the request to its agent and wait for the result in the ledger, at most `timeout_s`.

    A request that has ended is answered from the ledger alone, and so is one with another request's id. What the agent
    refuses is no refusal of a request that it had accepted before.

    Args:
        settings: where the ledger and Temporal are.
        order: what the caller wants.
        on_approval: called once for each approval that the request waits for.
        on_progress: called with what the request waits for, when that changes.
    """
    deadline = time.monotonic() + order.timeout_s
    vault = vault_of(settings)
    spec = order.spec(vault)
    async with ledger_of(settings) as ledger:
        before = await _recorded(ledger, order.key)
        if before is not None and (differing := _terms_differ(before, spec)) is not None:
            return differing
        if before is not None and before.result.status in CLOSED:
            return await _with_content(ledger, order, before.result, before)
        progress = None
        try:
            agent = await _hand_over(settings, ledger, vault, order, spec)
        except (AgentRefused, AgentNotRunning) as error:
            before = await _recorded(ledger, order.key)
            answer = _without_agent(order, spec, before, error)
            if answer is not None:
                return answer
        else:
            if on_progress is not None:
                progress = ProgressReporter(ledger, agent, order.request_id, settings.slot_ms, on_progress)
        result = await _wait(ledger, order, deadline, on_approval, progress)
        return await _with_content(ledger, order, result)


def _without_agent(
    order: RequestOrder, spec: RequestSpec, before: RequestRecord | None, error: AgentRefused | AgentNotRunning
) -> RequestOutcome | None:
    """The answer when the agent does not take the request; None when that was paid for, and only its end is awaited.

    Raises:
        CommandError: the agent does not run, so that nobody goes on with it.
    """
    if before is not None and (differing := _terms_differ(before, spec)) is not None:
        return differing
    if before is not None and before.result.status is not RequestStatus.WAITING:
        return None
    if isinstance(error, AgentNotRunning):
        raise CommandError(str(error), ExitCode.UNREACHABLE) from None
    if before is None:
        return RequestOutcome(order.refused(error.error))
    return RequestOutcome(before.result.model_copy(update={"error": error.error}))


def _terms_differ(before: RequestRecord, spec: RequestSpec) -> RequestOutcome | None:
    """What became of the request that this id belongs to, if that has other terms."""
    if before.spec.terms_hash() == spec.terms_hash():
        return None
    when = f" at {utc(before.ended_at)}" if before.result.status in CLOSED and before.ended_at is not None else ""
    message = (
        f"the id {spec.request_id!r} belongs to a request with {before.spec.differs_from(spec)}, which is "
        f"{outcome_text(before.result)}{when}; nothing was asked now: use another --id"
    )
    error = RequestError(type=RefusalReason.TERMS_DIFFER.value, message=message)
    return RequestOutcome(before.result.model_copy(update={"error": error}), ended_before=before, terms_differ=True)


async def _recorded(ledger: PostgresLedger, key: str) -> RequestRecord | None:
    try:
        return await ledger.requests.get(key)
    except UnknownRequest:
        return None


async def _hand_over(
    settings: Settings, ledger: PostgresLedger, vault: Vault, order: RequestOrder, spec: RequestSpec
) -> AgentHandle:
    """Hand the request to the agent; the default agent is launched first when it does not run."""
    may_launch = order.launch_when_missing and settings.on_localnet
    if order.launch_when_missing and not may_launch:
        raise CommandError("name the agent that pays with --agent: a default agent is made on the embedded stack only")
    if not may_launch:
        await known_agent(ledger, order.agent)
    client = await connect(settings, keys=ledger.keys)
    agent = AgentHandle(client, order.agent, settings.task_queue)
    if may_launch and not await agent.is_running():
        from autopay.cli.launch.launch_steps import launch_agent

        with contextlib.suppress(AlreadyRunning):  # another command was faster
            await launch_agent(settings, ledger, client, vault, _default_agent(order.agent))
    try:
        await agent.request(spec, max(min(order.timeout_s, ANSWER_TIMEOUT_S), 1))
    except AgentNotAnswering as error:
        # It may still accept the request once a worker runs: the same id finds it then.
        raise CommandError(f"{error}; {order.ask_again()}", ExitCode.UNREACHABLE) from None
    return agent


async def _wait(
    ledger: PostgresLedger,
    order: RequestOrder,
    deadline: float,
    on_approval: Callable[[ApprovalRecord], None],
    progress: ProgressReporter | None,
) -> RequestResult:
    """The request's result, or its status at the deadline."""
    seen, tell_at = set[UUID](), time.monotonic() + TELL_S
    async with ledger_changes(ledger) as changes:
        while (result := await ledger.requests.result(order.key)).status not in CLOSED and time.monotonic() < deadline:
            if time.monotonic() >= tell_at:  # most requests have ended by then
                tell_at = time.monotonic() + TELL_S
                for approval in await ledger.policies.approvals(order.agent):
                    if approval.request_key == order.key and approval.approval_id not in seen:
                        seen.add(approval.approval_id)
                        on_approval(approval)
                if progress is not None:
                    await progress.update(order.key)
            await changes.wait(min(LOOK_S, max(deadline - time.monotonic(), 0)))
    return result


async def _with_content(
    ledger: PostgresLedger, order: RequestOrder, result: RequestResult, ended_before: RequestRecord | None = None
) -> RequestOutcome:
    content_at = None
    if result.status is RequestStatus.FRESH and result.content_of is not None:
        content_at = await ledger.requests.content_at(x402_request_id(order.agent, result.content_of))
    try:
        stored = await ledger.requests.content(order.key)
    except ContentPruned as gone:
        return RequestOutcome(result, pruned=str(gone), content_at=content_at, ended_before=ended_before)
    content = stored.body if stored else None
    return RequestOutcome(result, content, content_at=content_at, ended_before=ended_before)


def _default_agent(name: str) -> LaunchOrder:
    return LaunchOrder(
        name=name,
        phase=Phase.FULL,
        currencies=tuple(Currency),
        allowance_atomic=_DEFAULT_ALLOWANCE,
        tx_limit=_DEFAULT_PAYMENTS,
        duration_s=_DEFAULT_DURATION_S,
    )
