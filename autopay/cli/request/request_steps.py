"""Hands a request to its agent and waits for the result in the ledger."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.vault import Vault
from autopay.cli.agent.launch_steps import AlreadyRunning, LaunchOrder, launch_agent
from autopay.cli.connect.agent_handle import (
    ANSWER_TIMEOUT_S,
    AgentHandle,
    AgentNotAnswering,
    AgentNotRunning,
    AgentRefused,
)
from autopay.cli.connect.connections import known_agent, ledger_of, vault_of
from autopay.cli.connect.console import ProgressCallback
from autopay.cli.connect.exit_codes import CommandError, ExitCode
from autopay.cli.request.progress import ProgressReporter
from autopay.domain.errors import ContentPruned, UnknownRequest
from autopay.domain.money import Currency, to_atomic
from autopay.domain.payment.exchange import RequestExtras
from autopay.domain.phase import Phase
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import (
    CLOSED,
    Method,
    RequestError,
    RequestResult,
    RequestSpec,
    RequestStatus,
    payment_workflow_id,
    x402_request_id,
)
from autopay.settings import Settings
from autopay.temporal.connection import connect

FIRST_POLL_S = 0.02
LAST_POLL_S = 0.5
MAX_SEALED_CHARS = 400_000  # RequestSpec.sealed_extras

DEFAULT_AGENT = "default"
"""Pays when the caller names no agent; launched with test money on the embedded stack."""

_DEFAULT_ALLOWANCE = to_atomic("10")
_DEFAULT_PAYMENTS = 10_000
_DEFAULT_DURATION_S = 30 * 86_400


@dataclass(frozen=True)
class RequestOrder:
    """What the caller wants. `launch_when_missing` allows a default agent with test money."""

    agent: str
    launch_when_missing: bool
    request_id: str
    url: str
    method: Method
    body: bytes | None
    max_price_atomic: int | None
    currency: Currency | None
    timeout_s: float
    max_age_s: int | None = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The request's key in the ledger."""
        return x402_request_id(self.agent, self.request_id)

    def spec(self, vault: Vault) -> RequestSpec:
        """The request as the agent gets it: headers and body sealed."""
        sealed = None
        if self.headers or self.body is not None:
            extras = RequestExtras(headers=self.headers, body=self.body).model_dump_json().encode()
            sealed = vault.seal(extras, purpose="request-extras", row=self.key)
            if len(sealed) > MAX_SEALED_CHARS:
                raise CommandError(f"headers and body are too large: at most about {MAX_SEALED_CHARS * 3 // 4} bytes")
        return RequestSpec(
            request_id=self.request_id,
            url=self.url,
            method=self.method,
            max_price_atomic=self.max_price_atomic,
            currency=self.currency,
            body_hash=None if self.body is None else hashlib.sha256(self.body).hexdigest(),
            sealed_extras=sealed,
            max_age_s=self.max_age_s,
        )

    def refused(self, error: RequestError) -> RequestResult:
        """The result of a request that the agent did not accept."""
        return RequestResult(
            request_id=self.request_id,
            status=RequestStatus.REFUSED,
            workflow_id=payment_workflow_id(self.agent, self.request_id),
            error=error,
        )


@dataclass(frozen=True)
class RequestOutcome:
    """The request's result, or its status so far, and its content; `pruned` says why delivered content is gone.

    `content_at` is when content was delivered that was bought before (status FRESH).
    """

    result: RequestResult
    content: bytes | None = None
    pruned: str | None = None
    content_at: datetime | None = None


async def make_request(
    settings: Settings,
    order: RequestOrder,
    on_approval: Callable[[ApprovalRecord], None],
    on_progress: ProgressCallback | None,
) -> RequestOutcome:
    """Hand the request to its agent and wait for the result in the ledger, at most `timeout_s`.

    A request that has ended is answered from the ledger alone.

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
        progress = None
        if not await _is_closed(ledger, order.key):
            try:
                agent = await _hand_over(settings, ledger, vault, order, spec)
            except AgentRefused as refusal:
                return RequestOutcome(order.refused(refusal.error))
            if on_progress is not None:
                progress = ProgressReporter(ledger, agent, order.request_id, settings.slot_ms, on_progress)
        recorded = await ledger.requests.get(order.key)
        if recorded.spec.terms_hash() != spec.terms_hash():
            message = f"request {order.request_id!r} was made before with {recorded.spec.differs_from(spec)}"
            return RequestOutcome(order.refused(RequestError(type=RefusalReason.TERMS_DIFFER.value, message=message)))
        result = await _wait(ledger, order, deadline, on_approval, progress)
        return await _with_content(ledger, order, result)


async def _hand_over(
    settings: Settings, ledger: PostgresLedger, vault: Vault, order: RequestOrder, spec: RequestSpec
) -> AgentHandle:
    """Hand the request to the agent; the default agent is launched first when it does not run."""
    may_launch = order.launch_when_missing and settings.on_localnet
    if order.launch_when_missing and not may_launch:
        raise CommandError("name the agent that pays with --agent: a default agent is made on the embedded stack only")
    if not may_launch:
        await known_agent(ledger, order.agent)
    client = await connect(settings)
    agent = AgentHandle(client, order.agent, settings.task_queue)
    if may_launch and not await agent.is_running():
        with contextlib.suppress(AlreadyRunning):  # another command was faster
            await launch_agent(settings, ledger, client, vault, _default_agent(order.agent))
    try:
        await agent.request(spec, max(min(order.timeout_s, ANSWER_TIMEOUT_S), 1))
    except AgentNotAnswering as error:
        # It may still accept the request once a worker runs: the same id finds it then.
        again = f"ask again with --agent {order.agent} --id {order.request_id}"
        raise CommandError(f"{error}; {again}", ExitCode.UNREACHABLE) from None
    except AgentNotRunning:
        message = f"agent {order.agent!r} is not running: starter.py launch {order.agent}"
        raise CommandError(message, ExitCode.UNREACHABLE) from None
    return agent


async def _wait(
    ledger: PostgresLedger,
    order: RequestOrder,
    deadline: float,
    on_approval: Callable[[ApprovalRecord], None],
    progress: ProgressReporter | None,
) -> RequestResult:
    """The request's result, or its status at the deadline."""
    pause, seen = FIRST_POLL_S, set[UUID]()
    while (result := await ledger.requests.result(order.key)).status not in CLOSED and time.monotonic() < deadline:
        await asyncio.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 1.5, LAST_POLL_S)
        if pause < LAST_POLL_S:
            continue
        for approval in await ledger.policies.approvals(order.agent):
            if approval.request_key == order.key and approval.approval_id not in seen:
                seen.add(approval.approval_id)
                on_approval(approval)
        if progress is not None:
            await progress.update(order.key)
    return result


async def _with_content(ledger: PostgresLedger, order: RequestOrder, result: RequestResult) -> RequestOutcome:
    content_at = None
    if result.status is RequestStatus.FRESH and result.content_of is not None:
        content_at = await ledger.requests.content_at(x402_request_id(order.agent, result.content_of))
    try:
        stored = await ledger.requests.content(order.key)
    except ContentPruned as gone:
        return RequestOutcome(result, pruned=str(gone), content_at=content_at)
    return RequestOutcome(result, stored.body if stored else None, content_at=content_at)


async def _is_closed(ledger: PostgresLedger, key: str) -> bool:
    try:
        return (await ledger.requests.result(key)).status in CLOSED
    except UnknownRequest:
        return False


def _default_agent(name: str) -> LaunchOrder:
    return LaunchOrder(
        name=name,
        phase=Phase.FULL,
        currencies=tuple(Currency),
        allowance_atomic=_DEFAULT_ALLOWANCE,
        tx_limit=_DEFAULT_PAYMENTS,
        duration_s=_DEFAULT_DURATION_S,
    )
