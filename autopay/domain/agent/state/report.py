"""`build_status`: an agent's state as the answer to the query `status`. Pure; decides nothing."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from autopay.domain.agent.state.breakers import Breaker
from autopay.domain.agent.state.durable_state import DurableState
from autopay.domain.agent.state.priority import score_at
from autopay.domain.agent.state.scheduling import BlockedBy
from autopay.domain.agent.status import (
    AgentState,
    AgentStatus,
    BreakerState,
    BreakerStatus,
    WaitingRequest,
    WatchStatus,
)
from autopay.domain.money import show
from autopay.domain.request import RequestStatus

QUEUE_HEAD = 5

LOOKED_THROUGH = 50
"""Requests at the queue's head of which one may be named as waiting for money."""


def build_status(state: DurableState, now: datetime, *, has_ended: bool) -> AgentStatus:
    """The answer to the query `status`; `has_ended` when the workflow is about to end."""
    queue, counters = state.queue, state.counters
    counts = counters.by_status
    return AgentStatus(
        name=state.spec.name,
        phase=state.spec.phase,
        rules=state.spec.rules,
        state=AgentState.STOPPED if has_ended else state.state,
        reason=_reason(state, now),
        spendable=tuple(state.balances.readings),
        in_flight=tuple(request.request_id for request in queue.with_slot()),
        settling=tuple(key for key in queue.in_flight if key in queue.answered),
        held=tuple(held for key, held in queue.held.items() if key not in queue.answered),
        queued=tuple(request.request_id for request in queue.waiting),
        next=tuple(_head(state, now)),
        breakers=tuple(_breakers(state, now)),
        watches=tuple(_watches(state, now, has_ended=has_ended)),
        payments=counters.payments,
        delivered=counts.get(RequestStatus.DELIVERED, 0) + counts.get(RequestStatus.FREE, 0),
        fresh=counts.get(RequestStatus.FRESH, 0),
        refused=counts.get(RequestStatus.REFUSED, 0),
        failed=counts.get(RequestStatus.FAILED, 0),
        undelivered=counts.get(RequestStatus.UNDELIVERED, 0),
        spent_atomic=dict(counters.spent_atomic),
        last=tuple(counters.last),
        dropped=state.dropped.count,
        last_dropped=state.dropped.last,
    )


def _reason(state: DurableState, now: datetime) -> str | None:
    """Why it is not simply running, and what would change that."""
    if state.stopping:
        return "draining what is in flight" if state.queue.in_flight.keys() - state.queue.held.keys() else None
    if state.demo_is_over():
        return f"the demo's {state.spec.rules.demo_payments} payments are made; it ends when they are final"
    if state.retry.fault is not None:
        again = f", tries again at {state.retry.at:%H:%M:%S}" if state.retry.at else ""
        return f"{state.retry.fault}{again}"
    if state.state == AgentState.PAUSED:
        return state.pause if state.pause is not None else state.balances.shortage
    if (until := state.breakers.rpc.until) is not None:
        return f"the chain does not answer: payments wait, it is asked again at {until:%H:%M:%S}"
    if waiting := state.watches_without_money():
        return f"{', '.join(waiting)} must wait: {state.balances.describe_missing(state.spec.rules)}"
    return _too_expensive(state, now)


def _too_expensive(state: DurableState, now: datetime) -> str | None:
    """Which of the next requests waits for more money than is spendable, if one does."""
    context = state.scheduling_context(now)
    for request, blocked_by in islice(context.evaluate(state.queue.waiting), LOOKED_THROUGH):
        cost = context.cost(request)
        if blocked_by is BlockedBy.MONEY and cost.amount is not None:
            spendable = show(context.spendable.get(cost.currency) or 0, cost.currency)
            price = show(cost.amount, cost.currency)
            return f"{request.request_id} waits for money: it costs {price}, {spendable} is spendable"
    return None


def _head(state: DurableState, now: datetime) -> Iterator[WaitingRequest]:
    context = state.scheduling_context(now)
    for request, blocked_by in islice(context.evaluate(state.queue.waiting), QUEUE_HEAD):
        cost = context.cost(request)
        yield WaitingRequest(
            request_id=request.request_id,
            url=request.url,
            score=round(score_at(request.score, request.queued_at, now), 1),
            queued_at=request.queued_at,
            waits=blocked_by.value if blocked_by is not None else None,
            price_atomic=cost.amount,
            currency=None if cost.amount is None else cost.currency,
        )


def _breakers(state: DurableState, now: datetime) -> Iterator[BreakerStatus]:
    every: dict[str, Breaker] = {"rpc": state.breakers.rpc, **state.breakers.sellers}
    for name, breaker in every.items():
        if breaker.faults:
            breaker_state = breaker.state(now)
            until = breaker.until if breaker_state == BreakerState.OPEN else None
            yield BreakerStatus(of=name, state=breaker_state, faults=breaker.faults, until=until)


def _watches(state: DurableState, now: datetime, *, has_ended: bool) -> Iterator[WatchStatus]:
    waits = _waits(state, has_ended=has_ended) if state.spec.watches else {}
    for watch in state.spec.watches:
        plan = state.schedule.plans.get(watch.name)
        since = state.schedule.stale_since(watch)
        price = state.prices.of(watch.method, watch.url)
        yield WatchStatus(
            watch=watch,
            next_due=max(plan.due, now) if plan is not None and waits[watch.name] is None else None,
            last=plan.last if plan is not None else None,
            stale_since=since if since is not None and since < now else None,
            waits=waits[watch.name],
            price_atomic=price.amount_atomic if price is not None else None,
            currency=price.currency if price is not None else None,
        )


def _waits(state: DurableState, *, has_ended: bool) -> dict[str, str | None]:
    """Why each watch cannot be bought when it is due; None when it can."""
    names = [watch.name for watch in state.spec.watches]
    if has_ended or state.state != AgentState.RUNNING:
        return dict.fromkeys(names, "stopped" if has_ended or state.stopping else "paused")
    in_flight, poor = state.queue.in_flight, state.watches_without_money()
    waits = {name: "under way" if state.queue.is_busy(name) else None for name in names}
    held = {in_flight[key].watch: f"held: {held.why}" for key, held in state.queue.held.items() if key in in_flight}
    return waits | {name: held[name] for name in names if name in held} | dict.fromkeys(poor, "no money")
