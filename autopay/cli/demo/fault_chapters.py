"""The demo's bad days: the chain goes away, and a worker is killed.

What must not live here: the other chapters (demo_story.py).
"""

from autopay.cli.connect.exit_codes import CommandError, ExitCode
from autopay.cli.demo.context import ChapterFacts, DemoContext, Snapshot
from autopay.domain.agent.breaker import BreakerState
from autopay.domain.agent.status import AgentState, AgentStatus, BreakerStatus
from autopay.domain.request import RequestStatus, payment_workflow_id

SLOW_MS = 1_500
"""How long the Knowledge Data API takes while a worker is killed: long enough to hit the middle of a payment."""

WORKER = "worker-1"
TRIES = 5


async def the_chain_goes_away(stage: DemoContext) -> ChapterFacts:
    """The RPC fails: payments are held, free requests go on; it comes back, and so do the payments."""
    await stage.agent.signal("pause", "the demo takes the chain away")
    await stage.until_agent(_is_quiet, "what is in flight to finish")
    stage.say("signal pause: what is in flight finishes, nothing new begins")
    await stage.weather(stage.addresses.solana_rpc, outage=True)
    stage.say("from now on the chain's RPC answers every question with 503 (weather chain --outage)")
    await stage.agent.signal("resume")
    stage.say("signal resume: it goes on buying")
    status = await stage.until_agent(lambda status: _rpc(status, BreakerState.OPEN) is not None, "the breaker to open")
    breaker = _rpc(status, BreakerState.OPEN)
    assert breaker is not None
    known = _free(status)
    stage.say(f"the agent's breaker for it is OPEN after {breaker.faults} faults in a row: what costs money waits")
    status = await stage.until_agent(lambda now: bool(_held(now) and _free(now) - known), "held and free requests")
    held, free = _held(status), _free(status) - known
    stage.say(f"{_names(free)} is free and goes through; held, with nothing signed: {_names(held)}")
    await stage.weather(stage.addresses.solana_rpc)
    stage.say("the RPC answers again")
    await stage.until_agent(lambda status: _rpc(status) is None, "the breaker to close")
    stage.say("the breaker is CLOSED: the chain was asked again, and it answered")
    await stage.until(lambda view: held <= view.delivered(), "the held payments")
    stage.say(f"{_names(held)}: paid and delivered")
    return {"faults": breaker.faults, "held": sorted(held), "free": sorted(free)}


async def a_worker_dies(stage: DemoContext) -> ChapterFacts:
    """kill -9 between a payment's sending and its answer: the same bytes go again, and are paid once."""
    await stage.weather(stage.addresses.knowledge_api, latency_ms=SLOW_MS)
    stage.say(f"the Knowledge Data API takes {SLOW_MS / 1000:g} s for everything now (weather knowledge --latency)")
    view, request_id = await _payment_under_way(stage)
    row = view.payments_of(request_id)[0]
    pid = stage.stack.pid(WORKER)
    stage.say(f"{request_id} has left for the seller; now kill -9 {pid}: nobody waits for the answer any more")
    await stage.stack.kill(WORKER)
    await stage.weather(stage.addresses.knowledge_api)
    stage.say(await _who_has_it(stage, request_id))
    view = await stage.until(lambda view: request_id in view.delivered(), f"{request_id} to go on")
    after, now = view.payments_of(request_id)[0], stage.stack.pid(WORKER)
    if after.attempt_id == row.attempt_id:
        again = f"sent the same signed bytes again ({after.sends} sends)"
    else:
        again = f"found attempt {row.number} expired and unpaid on chain, signed attempt {after.number}"
    stage.say(f"{request_id}: worker {now} {again}, and got the data")
    return {"pids": [pid, now], "same_attempt": after.attempt_id == row.attempt_id, "sends": after.sends}


async def _payment_under_way(stage: DemoContext) -> tuple[Snapshot, str]:
    """A payment that has left and was not answered yet, while no other is on its way to a forgetful seller."""
    for number in range(1, TRIES + 1):
        request_id = f"a-survivor-{number}"
        await stage.ask(request_id, "GET", "/api/ai-insights?topic=agents")

        def is_over(view: Snapshot, wanted: str = request_id) -> bool:
            return wanted in view.delivered() or _is_alone_under_way(view, wanted)

        view = await stage.until(is_over, f"{request_id} to leave for the seller")
        if request_id not in view.delivered():
            return view, request_id
        stage.say(f"{request_id} was answered before a worker could be killed; once more")
    raise CommandError(f"the demo missed the middle of {TRIES} payments: this machine is too busy", ExitCode.FAULT)


async def _who_has_it(stage: DemoContext, request_id: str) -> str:
    """What Temporal knows of the step that a payment is in."""
    handle = stage.client.get_workflow_handle(payment_workflow_id(stage.agent.name, request_id))
    pending = (await handle.describe()).raw_description.pending_activities
    steps = ", ".join(
        f"step {each.activity_type.name} with worker {each.last_worker_identity}, and gives it to another "
        f"when it hears nothing for {each.activity_options.heartbeat_timeout.seconds} s"
        for each in pending
    )
    return f"Temporal has {steps or 'no step of it under way'}"


def _is_quiet(status: AgentStatus) -> bool:
    return status.state is AgentState.PAUSED and not status.in_flight


def _held(status: AgentStatus) -> set[str]:
    return {each.request_id for each in status.held if each.why == "chain"}


def _rpc(status: AgentStatus, state: BreakerState | None = None) -> BreakerStatus | None:
    """The breaker of the chain's RPC, in that state; with no faults it is not listed."""
    return next((each for each in status.breakers if each.of == "rpc" and state in (None, each.state)), None)


def _free(status: AgentStatus) -> set[str]:
    return {each.request_id for each in status.last if each.status is RequestStatus.FREE}


def _names(ids: set[str]) -> str:
    return ", ".join(sorted(ids)) or "nothing"


def _is_alone_under_way(view: Snapshot, request_id: str) -> bool:
    """It has left for the seller, and nothing else is on its way to one that would not remember an answer."""
    rows = view.payments_of(request_id)
    on_its_way = bool(rows) and rows[0].sends == 1 and rows[0].delivery != "DELIVERED"
    others = view.status.in_flight if view.status is not None else ("unknown",)
    return on_its_way and all(each == request_id or each.startswith(("fees", "risk")) for each in others)
