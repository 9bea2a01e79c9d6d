"""Two chapters of the demo with faults: the chain goes away, and a worker is killed."""

from autopay.cli.demo.context import ChapterFacts, DemoContext, Snapshot
from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.domain.agent.state.scheduling import BlockedBy
from autopay.domain.agent.status import AgentState, AgentStatus, BreakerState, BreakerStatus
from autopay.domain.request import RequestStatus, payment_workflow_id
from autopay.temporal.pollers import process_of

SLOW_MS = 2_000
"""How long the Knowledge Data API takes, to hit the middle of a payment with a kill; so much longer at each try."""

WORKER = "worker-1"
TRIES = 5


async def lose_the_chain(demo: DemoContext) -> ChapterFacts:
    """The RPC fails: payments are held, free requests go on; it comes back, and so do the payments."""
    await demo.agent.signal("pause", "the demo takes the chain away")
    await demo.wait_until_agent(_is_quiet, "what is in flight to finish")
    demo.note("signal pause: what is in flight finishes, nothing new begins")
    await demo.set_faults(demo.addresses.solana_rpc, outage=True)
    demo.note("from now on the chain's RPC answers every question with 503 (weather chain --outage)")
    await demo.agent.signal("resume")
    demo.note("signal resume: it goes on buying")
    status = await demo.wait_until_agent(
        lambda status: _rpc(status, BreakerState.OPEN) is not None, "the breaker to open"
    )
    breaker = _rpc(status, BreakerState.OPEN)
    assert breaker is not None
    known = _free(status)
    demo.note(f"the agent's breaker for it is OPEN after {breaker.faults} faults in a row: what costs money waits")
    status = await demo.wait_until_agent(lambda now: bool(_held(now) and _free(now) - known), "held and free requests")
    held, free = _held(status), _free(status) - known
    demo.note(f"{_names(free)} is free and goes through; held, with nothing signed: {_names(held)}")
    await demo.set_faults(demo.addresses.solana_rpc)
    demo.note("the RPC answers again")
    await demo.wait_until_agent(lambda status: _rpc(status) is None, "the breaker to close")
    demo.note("the breaker is CLOSED: the chain was asked again, and it answered")
    await demo.wait_until(lambda snapshot: held <= snapshot.delivered(), "the held payments")
    demo.note(f"{_names(held)}: paid and delivered")
    return {"faults": breaker.faults, "held": sorted(held), "free": sorted(free)}


async def kill_a_worker(demo: DemoContext) -> ChapterFacts:
    """kill -9 between a payment's sending and its answer: the same bytes go again, and are paid once."""
    snapshot, request_id = await _payment_under_way(demo)
    row = snapshot.payments_of(request_id)[0]
    pid = demo.stack.pid(WORKER)
    demo.note(f"{request_id} has left for the seller; now kill -9 {pid}: nobody waits for the answer any more")
    await demo.stack.kill(WORKER)
    await demo.set_faults(demo.addresses.knowledge_api)
    demo.note(await _who_has_it(demo, request_id))
    snapshot = await demo.wait_until(lambda snapshot: request_id in snapshot.delivered(), f"{request_id} to go on")
    after, now = snapshot.payments_of(request_id)[0], demo.stack.pid(WORKER)
    if after.attempt_id == row.attempt_id:
        again = f"sent the same signed bytes again ({after.sends} sends)"
    else:
        again = f"found attempt {row.number} expired and unpaid on chain, signed attempt {after.number}"
    demo.note(f"{request_id}: worker {now} {again}, and got the data")
    return {"pids": [pid, now], "same_attempt": after.attempt_id == row.attempt_id, "sends": after.sends}


async def _payment_under_way(demo: DemoContext) -> tuple[Snapshot, str]:
    """A payment that is submitted and not answered yet, while no other payment would lose its content.

    Only the routes of the watches `fees` and `risk` answer the same payment again with the same content.
    """
    for number in range(1, TRIES + 1):
        request_id = f"a-survivor-{number}"
        latency_ms = number * SLOW_MS
        await demo.set_faults(demo.addresses.knowledge_api, latency_ms=latency_ms)
        slow = f"the Knowledge Data API takes {latency_ms / 1000:g} s for everything now"
        demo.note(f"{slow} (weather knowledge --latency)")
        await demo.request(request_id, "GET", "/api/ai-insights?topic=agents")

        def is_over(snapshot: Snapshot, wanted: str = request_id) -> bool:
            return wanted in snapshot.delivered() or _is_alone_under_way(snapshot, wanted)

        snapshot = await demo.wait_until(is_over, f"{request_id} to leave for the seller")
        if request_id not in snapshot.delivered():
            return snapshot, request_id
        demo.note(f"{request_id} was answered before a worker could be killed; once more")
    raise CommandError(f"the demo missed the middle of {TRIES} payments: this machine is too busy", ExitCode.FAULT)


async def _who_has_it(demo: DemoContext, request_id: str) -> str:
    """The step of a payment that is under way, as Temporal knows it."""
    handle = demo.client.get_workflow_handle(payment_workflow_id(demo.agent.name, request_id))
    pending = (await handle.describe()).raw_description.pending_activities
    steps = ", ".join(
        f"step {each.activity_type.name} with worker {process_of(each.last_worker_identity)}, and gives it to another "
        f"when it hears nothing for {each.activity_options.heartbeat_timeout.seconds} s"
        for each in pending
    )
    return f"Temporal has {steps or 'no step of it under way'}"


def _is_quiet(status: AgentStatus) -> bool:
    return status.state is AgentState.PAUSED and not status.in_flight


def _held(status: AgentStatus) -> set[str]:
    """Requests that wait for the chain: begun and held before signing, or queued behind its open breaker."""
    held = {each.request_id for each in status.held if each.why == "chain"}
    return held | {each.request_id for each in status.next if each.waits == BlockedBy.CHAIN_DOWN.value}


def _rpc(status: AgentStatus, state: BreakerState | None = None) -> BreakerStatus | None:
    """The breaker of the chain's RPC, if it is in that state; without faults it is not listed."""
    return next((each for each in status.breakers if each.of == "rpc" and state in (None, each.state)), None)


def _free(status: AgentStatus) -> set[str]:
    return {each.request_id for each in status.last if each.status is RequestStatus.FREE}


def _names(ids: set[str]) -> str:
    return ", ".join(sorted(ids)) or "nothing"


def _is_alone_under_way(snapshot: Snapshot, request_id: str) -> bool:
    """Whether it is submitted, and every other request in flight is for a route that answers again."""
    rows = snapshot.payments_of(request_id)
    on_its_way = bool(rows) and rows[0].sends == 1 and rows[0].delivery != "DELIVERED"
    others = snapshot.status.in_flight if snapshot.status is not None else ("unknown",)
    return on_its_way and all(each == request_id or each.startswith(("fees", "risk")) for each in others)
