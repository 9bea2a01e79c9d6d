"""Hands a request to its agent and waits for the result in the ledger: what every door of Autopay does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from uuid import UUID

from autopay.client.agents.handle import ANSWER_TIMEOUT_S, AgentHandle
from autopay.client.errors import AgentNotAnswering, AgentNotRunning, AgentRefused, InvalidCall, Unreachable
from autopay.client.requests.listener import NOBODY, Listener
from autopay.client.requests.order import RequestOrder, RequestOutcome
from autopay.client.requests.progress import ProgressReporter
from autopay.client.requests.text import outcome_text
from autopay.domain.errors import ContentPruned, UnknownAgent, UnknownRequest
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
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import utc

if TYPE_CHECKING:
    from autopay.client.requests.connections import Connections

TELL_S = 0.5
"""How often a person is told what is waited for."""


async def buy(
    connections: Connections,
    order: RequestOrder,
    listener: Listener = NOBODY,
    before_asking: Callable[[AgentHandle], Awaitable[None]] | None = None,
) -> RequestOutcome:
    """Hand the request to its agent and wait for the result in the ledger, at most `order.timeout_s`.

    A request that has ended is answered from the ledger alone, and so is one with another request's id. What the agent
    refuses is no refusal of a request that it had accepted before.

    Args:
        connections: where the ledger and Temporal are.
        order: what the caller wants.
        listener: hears what the request waits for.
        before_asking: may launch the agent; without it, the agent has to exist.

    Raises:
        AutopayError: there is no such agent, or nobody goes on with the request.
        Fault: the ledger does not answer; the request may be under way all the same.
    """
    deadline = time.monotonic() + order.timeout_s
    spec = order.spec(connections.vault)
    before = await _recorded(connections, order.key)
    if before is not None and (differing := _terms_differ(before, spec)) is not None:
        return differing
    if before is not None and before.result.status in CLOSED:
        return await with_content(connections, order, before.result, before)
    progress = None
    try:
        agent = await _hand_over(connections, order, spec, before_asking)
    except (AgentRefused, AgentNotRunning) as error:
        before = await _recorded(connections, order.key)
        answer = _without_agent(order, spec, before, error)
        if answer is not None:
            return answer
    else:
        if listener.on_progress is not None:
            slot_ms, ledger = connections.settings.slot_ms, connections.ledger
            progress = ProgressReporter(ledger, agent, order.request_id, slot_ms, listener.on_progress)
    result = await _wait(connections, order, deadline, listener, progress)
    return await with_content(connections, order, result)


def _without_agent(
    order: RequestOrder, spec: RequestSpec, before: RequestRecord | None, error: AgentRefused | AgentNotRunning
) -> RequestOutcome | None:
    """The answer when the agent does not take the request; None when that was paid for, and only its end is awaited.

    Raises:
        Unreachable: the agent does not run, so that nobody goes on with it.
    """
    if before is not None and (differing := _terms_differ(before, spec)) is not None:
        return differing
    if before is not None and before.result.status is not RequestStatus.WAITING:
        return None
    if isinstance(error, AgentNotRunning):
        raise Unreachable(str(error), error.type) from None
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
        f"{outcome_text(before.result)}{when}; nothing was asked now: use another id"
    )
    error = RequestError(type=RefusalReason.TERMS_DIFFER.value, message=message)
    return RequestOutcome(before.result.model_copy(update={"error": error}), ended_before=before, terms_differ=True)


async def _recorded(connections: Connections, key: str) -> RequestRecord | None:
    try:
        return await connections.ledger.requests.get(key)
    except UnknownRequest:
        return None


async def _hand_over(
    connections: Connections,
    order: RequestOrder,
    spec: RequestSpec,
    before_asking: Callable[[AgentHandle], Awaitable[None]] | None,
) -> AgentHandle:
    """Hand the request to the agent, which may be launched first."""
    if before_asking is None:
        await require_agent(connections, order.agent)
    agent = await connections.agent(order.agent)
    if before_asking is not None:
        await before_asking(agent)
    try:
        await agent.request(spec, max(min(order.timeout_s, ANSWER_TIMEOUT_S), 1))
    except AgentNotAnswering as error:
        # It may still accept the request once a worker runs: the same id finds it then.
        raise AgentNotAnswering(f"{error}; {order.ask_again()}") from None
    return agent


async def require_agent(connections: Connections, name: str) -> None:
    """See that the ledger knows the agent.

    Raises:
        InvalidCall: it does not; says what to do.
    """
    if name in connections.known_agents:
        return
    try:
        await connections.ledger.agents.get(name)
    except UnknownAgent:
        raise InvalidCall(f"there is no agent {name!r}; see: {command_line('agents')}", "unknown_agent") from None
    connections.known_agents.add(name)


async def _wait(
    connections: Connections,
    order: RequestOrder,
    deadline: float,
    listener: Listener,
    progress: ProgressReporter | None,
) -> RequestResult:
    """The request's result, or its status at the deadline."""
    asked = set[UUID]()
    while True:
        left_s = max(deadline - time.monotonic(), 0)
        await connections.answers.answered(order.key, min(TELL_S, left_s))
        result = await connections.ledger.requests.result(order.key)
        if result.status in CLOSED or time.monotonic() >= deadline:
            return result
        if listener.on_approval is not None:
            for approval in await connections.ledger.policies.approvals(order.agent):
                if approval.request_key == order.key and approval.approval_id not in asked:
                    asked.add(approval.approval_id)
                    listener.on_approval(approval)
        if progress is not None:
            await progress.update(order.key)


async def with_content(
    connections: Connections, order: RequestOrder, result: RequestResult, ended_before: RequestRecord | None = None
) -> RequestOutcome:
    """The outcome of a request with that result."""
    content_at = None
    requests = connections.ledger.requests
    if result.status is RequestStatus.FRESH and result.content_of is not None:
        content_at = await requests.content_at(x402_request_id(order.agent, result.content_of))
    try:
        stored = await requests.content(order.key)
    except ContentPruned as gone:
        return RequestOutcome(result, pruned=str(gone), content_at=content_at, ended_before=ended_before)
    return RequestOutcome(result, stored, content_at=content_at, ended_before=ended_before)
