"""One agent: what it answers itself, what the ledger knows, and what would change its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.api.models.agents import Agent, Breaker, Held, PolicySummary, Waiting, Watch
from autopay.api.models.base import money_or_none
from autopay.api.readings.agents import item_of
from autopay.api.readings.places import workflow_url
from autopay.api.readings.sessions import session_told
from autopay.client.agents.advice import advice, is_paused_by_hand
from autopay.client.agents.agent_list import UNKNOWN, agent_line, live_line
from autopay.client.agents.agent_view import AgentView, agent_view
from autopay.client.agents.states import states_of
from autopay.client.errors import AutopayError, told_text
from autopay.domain.errors import Fault, SettingsError
from autopay.domain.money import short_units_text
from autopay.domain.payment.notice import WAITS_FOR
from autopay.domain.request import RequestStatus, agent_workflow_id

if TYPE_CHECKING:
    from autopay.api.readings.sources import Sources
    from autopay.domain.agent.records import AgentSummary
    from autopay.domain.agent.status import AgentStatus, HeldRequest, WaitingRequest, WatchStatus
    from autopay.domain.policy.records import PolicyInForce
    from autopay.domain.session import SessionRecord

ANSWER_S = 5.0
"""How long the agent may take to answer; then it is told by the ledger alone."""


async def read_agent(sources: Sources, name: str) -> Agent:
    """The agent with all that is known of it now.

    Raises:
        UnknownAgent: the ledger has none of that name.
    """
    before = await sources.ledger.agents.summary(name)
    status, state, problem = await _asked(sources, name)
    summary = await sources.ledger.agents.summary(name) if status is not None else before  # after it, as `status` does
    view = None if status is None else agent_view(status, summary)
    line = agent_line(summary, state) if status is None else live_line(summary, status)
    told = item_of(line).model_dump() | {
        "advice": () if view is None else tuple(advice(view, on_localnet=sources.settings.on_localnet)),
        "paused_by_hand": summary.pause is not None if view is None else is_paused_by_hand(view.status),
        "problem": problem,
        "sessions": tuple(session_told(each, summary.at).model_dump() for each in _sessions(summary)),
        "policy": _policy(summary.policy),
        "delivered": summary.ended.get(RequestStatus.DELIVERED, 0) + summary.ended.get(RequestStatus.FREE, 0),
        "workflow": workflow_url(sources.settings, agent_workflow_id(name)),
    }
    ended = (RequestStatus.FRESH, RequestStatus.UNDELIVERED, RequestStatus.FAILED, RequestStatus.REFUSED)
    told |= {each.value: summary.ended.get(each, 0) for each in ended}
    return Agent.model_validate(told | _under_way(view, summary))


async def _asked(sources: Sources, name: str) -> tuple[AgentStatus | None, str, str | None]:
    """The agent's answer, its state, and why there is no answer."""
    try:
        handle = await sources.connections.agent(name)
    except (AutopayError, Fault, SettingsError) as error:
        return None, UNKNOWN, told_text(error)
    try:
        status = await handle.status(ANSWER_S)
    except AutopayError as error:
        problem = told_text(error)
    else:
        return status, status.state.value, None
    try:
        states = await states_of(await sources.connections.temporal(), [name])
    except AutopayError:
        return None, UNKNOWN, problem
    return None, states[name], problem


def _sessions(summary: AgentSummary) -> list[SessionRecord]:
    found = {each.session_id: each for each in (*summary.sessions, *summary.last_sessions)}
    return sorted(found.values(), key=lambda each: each.created_at, reverse=True)


def _under_way(view: AgentView | None, summary: AgentSummary) -> dict[str, object]:
    """What it does now: by its own answer, else what the ledger has begun."""
    if view is None:
        questions = [
            Held(request_id=each.request_id, waits_for=WAITS_FOR["approval"], since=each.since, message=each.why)
            for each in summary.questions
        ]
        asked = {each.request_id for each in questions}
        empty: dict[str, object] = {"settling": (), "next": (), "breakers": (), "watches": ()}
        return empty | {"in_flight": tuple(sorted(summary.begun - asked)), "held_requests": tuple(questions)}
    status = view.status
    return {
        "in_flight": status.in_flight,
        "settling": status.settling,
        "held_requests": tuple(map(_held, status.held)),
        "next": tuple(map(_waiting, status.next)),
        "breakers": tuple(
            Breaker(of=each.of, state=each.state.value, faults=each.faults, until=each.until)
            for each in status.breakers
        ),
        "watches": tuple(map(_watch, status.watches)),
    }


def _held(each: HeldRequest) -> Held:
    return Held(request_id=each.request_id, waits_for=WAITS_FOR[each.why], since=each.since, message=each.message)


def _waiting(each: WaitingRequest) -> Waiting:
    return Waiting(
        request_id=each.request_id,
        url=each.url,
        score=each.score,
        queued_at=each.queued_at,
        waits_for=each.waits,
        price=money_or_none(each.price_atomic, each.currency),
    )


def _watch(each: WatchStatus) -> Watch:
    return Watch(
        name=each.watch.name,
        url=each.watch.url,
        every_s=each.watch.every_s,
        last=each.last,
        next_due=each.next_due,
        waits_for=each.waits,
        stale_since=each.stale_since,
        price=money_or_none(each.price_atomic, each.currency),
    )


def _policy(found: PolicyInForce) -> PolicySummary:
    policy = found.policy

    def units(atomic: int | None) -> str | None:
        return None if atomic is None else short_units_text(atomic)

    return PolicySummary(
        own=found.own,
        per_request=units(policy.per_request_atomic),
        per_agent_day=units(policy.per_agent_day_atomic),
        left_today=units(found.left_today_atomic),
        per_host_day=units(policy.per_host_day_atomic),
        auto_approve=short_units_text(policy.auto_approve_atomic),
        hosts=policy.hosts,
        payees=policy.payees,
    )
