"""What an agent says of itself: `report(memory)`. Pure; decides nothing."""

from collections.abc import Iterator
from datetime import datetime

from autopay.domain.agent.breaker import Breaker, BreakerState
from autopay.domain.agent.memory import AgentMemory
from autopay.domain.agent.priority import standing
from autopay.domain.agent.scheduling import BlockedBy
from autopay.domain.agent.spec import Watch
from autopay.domain.agent.status import AgentState, AgentStatus, BreakerStatus, WaitingRequest, WatchStatus
from autopay.domain.money import show
from autopay.domain.request import RequestStatus

QUEUE_HEAD = 5


def report(memory: AgentMemory, now: datetime, *, over: bool) -> AgentStatus:
    """The answer to the query `status`; `over` when its workflow is about to end."""
    slots = set(memory.slots())
    counts = memory.counts
    return AgentStatus(
        name=memory.spec.name,
        phase=memory.spec.phase,
        rules=memory.spec.rules,
        state=AgentState.STOPPED if over else memory.state,
        reason=_reason(memory, now),
        spendable=tuple(memory.purse.readings),
        in_flight=tuple(key for key in memory.in_flight if key in slots),
        settling=tuple(key for key in memory.in_flight if key in memory.answered),
        held=tuple(held for key, held in memory.held.items() if key not in memory.answered),
        queued=tuple(request.request_id for request in memory.queue),
        next=tuple(_head(memory, now)),
        breakers=tuple(_breakers(memory, now)),
        watches=tuple(_watch(memory, watch, now, over=over) for watch in memory.spec.watches),
        payments=memory.payments,
        delivered=counts.get(RequestStatus.DELIVERED, 0) + counts.get(RequestStatus.FREE, 0),
        fresh=counts.get(RequestStatus.FRESH, 0),
        refused=counts.get(RequestStatus.REFUSED, 0),
        failed=counts.get(RequestStatus.FAILED, 0),
        undelivered=counts.get(RequestStatus.UNDELIVERED, 0),
        spent_atomic=dict(memory.spent_atomic),
        last=tuple(memory.last),
    )


def _reason(memory: AgentMemory, now: datetime) -> str | None:
    """Why it is not simply running, and what would change that."""
    if memory.stopping:
        return "draining what is in flight" if memory.in_flight.keys() - memory.held.keys() else None
    if memory.demo_is_over():
        return f"the demo's {memory.spec.rules.demo_payments} payments are made; it ends when they are final"
    if memory.trouble is not None:
        again = f", tries again at {memory.retry_at:%H:%M:%S}" if memory.retry_at else ""
        return f"{memory.trouble}{again}"
    if memory.pause is not None or memory.short is not None:
        return memory.pause if memory.pause is not None else memory.short
    if memory.rpc.until is not None:
        return f"the chain does not answer: payments wait, it is asked again at {memory.rpc.until:%H:%M:%S}"
    if waiting := memory.watches_without_money():
        return f"{', '.join(waiting)} must wait: {memory.purse.missing(memory.spec.rules)}"
    return _dear(memory, now)


def _dear(memory: AgentMemory, now: datetime) -> str | None:
    desk = memory.desk(now)
    for request, hindrance in desk.judged(memory.queue):
        cost = desk.cost(request)
        if hindrance is BlockedBy.MONEY and cost.amount is not None:
            left = desk.left.get(cost.currency) or 0
            price = show(cost.amount, cost.currency)
            return f"{request.request_id} waits for money: it costs {price}, {show(left, cost.currency)} is spendable"
    return None


def _head(memory: AgentMemory, now: datetime) -> Iterator[WaitingRequest]:
    judged = memory.desk(now).judged(memory.queue)
    for _, (request, hindrance) in zip(range(QUEUE_HEAD), judged, strict=False):
        yield WaitingRequest(
            request_id=request.request_id,
            url=request.url,
            score=round(standing(request.score, request.queued_at, now), 1),
            queued_at=request.queued_at,
            waits=hindrance.value if hindrance is not None else None,
        )


def _breakers(memory: AgentMemory, now: datetime) -> Iterator[BreakerStatus]:
    every: dict[str, Breaker] = {"rpc": memory.rpc, **memory.sellers.breakers}
    for name, breaker in every.items():
        if breaker.faults:
            state = breaker.state(now)
            until = breaker.until if state == BreakerState.OPEN else None
            yield BreakerStatus(of=name, state=state, faults=breaker.faults, until=until)


def _watch(memory: AgentMemory, watch: Watch, now: datetime, *, over: bool) -> WatchStatus:
    plan = memory.watching.plans.get(watch.name)
    since = memory.watching.stale_since(watch)
    price = memory.prices.of(watch.method, watch.url)
    waits = _waits(memory, watch.name, over=over)
    return WatchStatus(
        watch=watch,
        next_due=max(plan.due, now) if plan is not None and waits is None else None,
        last=plan.last if plan is not None else None,
        stale_since=since if since is not None and since < now else None,
        waits=waits,
        price_atomic=price.amount_atomic if price is not None else None,
        currency=price.currency if price is not None else None,
    )


def _waits(memory: AgentMemory, name: str, *, over: bool) -> str | None:
    if over or memory.state != AgentState.RUNNING:
        return "stopped" if over or memory.stopping else "paused"
    if name in memory.watches_without_money():
        return "no money"
    busy = {memory.in_flight[key].watch: held.why for key, held in memory.held.items() if key in memory.in_flight}
    if name in busy:
        return f"held: {busy[name]}"
    return "under way" if name in memory.busy_watches() else None
