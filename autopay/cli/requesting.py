"""Asks an agent for paid data and waits for the end of it in the ledger.

What must not live here: options, and what is printed.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import UUID

from autopay.adapters.ledger import PostgresLedger
from autopay.adapters.ledger.records import ApprovalRecord
from autopay.adapters.vault import Vault
from autopay.cli.agent_calls import ANSWER_TIMEOUT_S, AgentCalls, AgentNotRunning, AgentRefuses, AgentSilent
from autopay.cli.exits import CommandError, ExitCode
from autopay.cli.launching import AlreadyRunning, LaunchOrder, launch_agent
from autopay.cli.places import known_agent, ledger_of, vault_of
from autopay.domain.agent import Phase
from autopay.domain.errors import ContentPruned, UnknownRequest
from autopay.domain.money import Currency, to_atomic
from autopay.domain.offer import Reason
from autopay.domain.ports import Extras
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
from autopay.temporal import connect

FIRST_POLL_S = 0.02
LAST_POLL_S = 0.5
MAX_SEALED_CHARS = 400_000  # RequestSpec.sealed_extras

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
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The request's key in the ledger."""
        return x402_request_id(self.agent, self.request_id)

    def spec(self, vault: Vault) -> RequestSpec:
        """The request as the agent gets it: headers and body sealed."""
        sealed = None
        if self.headers or self.body is not None:
            extras = Extras(headers=self.headers, body=self.body).model_dump_json().encode()
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
        )

    def refused(self, error: RequestError) -> RequestResult:
        """The result of a request that the agent did not take."""
        return RequestResult(
            request_id=self.request_id,
            status=RequestStatus.REFUSED,
            workflow_id=payment_workflow_id(self.agent, self.request_id),
            error=error,
        )


@dataclass(frozen=True)
class Answer:
    """How the request ended, or stands; and the content, or why what was delivered is gone."""

    result: RequestResult
    content: bytes | None = None
    pruned: str | None = None


async def ask(settings: Settings, order: RequestOrder, on_question: Callable[[ApprovalRecord], None]) -> Answer:
    """Have the agent take the request, and wait for its end in the ledger, at most `timeout_s`.

    A request that has ended is answered from the ledger alone. `on_question` hears of each approval that it waits
    for, once.
    """
    deadline = time.monotonic() + order.timeout_s
    vault = vault_of(settings)
    spec = order.spec(vault)
    async with ledger_of(settings) as ledger:
        if not await _is_closed(ledger, order.key):
            try:
                await _hand_over(settings, ledger, vault, order, spec)
            except AgentRefuses as refusal:
                return Answer(order.refused(refusal.error))
        return await _answer(ledger, order, spec, deadline, on_question)


async def _hand_over(
    settings: Settings, ledger: PostgresLedger, vault: Vault, order: RequestOrder, spec: RequestSpec
) -> None:
    """The agent takes the request; the default agent is launched first when it does not run."""
    may_launch = order.launch_when_missing and settings.on_localnet
    if order.launch_when_missing and not may_launch:
        raise CommandError("say who pays with --agent NAME: a default agent is made on the embedded stack only")
    if not may_launch:
        await known_agent(ledger, order.agent)
    client = await connect(settings)
    calls = AgentCalls(client, order.agent, settings.task_queue)
    if may_launch and not await calls.is_running():
        with contextlib.suppress(AlreadyRunning):  # another command was faster
            await launch_agent(settings, ledger, client, vault, _default_agent(order.agent))
    try:
        await calls.request(spec, max(min(order.timeout_s, ANSWER_TIMEOUT_S), 1))
    except AgentSilent as silence:
        # It may still take the request once a worker runs: the same id finds it then.
        again = f"ask again with --agent {order.agent} --id {order.request_id}"
        raise CommandError(f"{silence}; {again}", ExitCode.UNREACHABLE) from None
    except AgentNotRunning:
        message = f"agent {order.agent!r} is not running: starter.py launch {order.agent}"
        raise CommandError(message, ExitCode.UNREACHABLE) from None


async def _answer(
    ledger: PostgresLedger,
    order: RequestOrder,
    spec: RequestSpec,
    deadline: float,
    on_question: Callable[[ApprovalRecord], None],
) -> Answer:
    recorded = await ledger.request(order.key)
    if recorded.spec.terms_hash() != spec.terms_hash():
        message = f"request {order.request_id!r} was made before with other terms: {recorded.spec.url}"
        return Answer(order.refused(RequestError(type=Reason.TERMS_DIFFER.value, message=message)))
    pause, told = FIRST_POLL_S, set[UUID]()
    while (result := await ledger.result(order.key)).status not in CLOSED and time.monotonic() < deadline:
        await asyncio.sleep(min(pause, max(deadline - time.monotonic(), 0)))
        pause = min(pause * 1.5, LAST_POLL_S)
        for question in await ledger.approvals(order.agent) if pause == LAST_POLL_S else ():
            if question.request_key == order.key and question.approval_id not in told:
                told.add(question.approval_id)
                on_question(question)
    try:
        stored = await ledger.content(order.key)
    except ContentPruned as gone:
        return Answer(result, pruned=str(gone))
    return Answer(result, stored[1] if stored else None)


async def _is_closed(ledger: PostgresLedger, key: str) -> bool:
    try:
        return (await ledger.result(key)).status in CLOSED
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
