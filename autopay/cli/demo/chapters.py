"""The demo's story, chapter by chapter. Nothing is told that was not read from the agent, the ledger or the chain.

Each chapter returns facts for `--json`. What must not live here: starting and counting (demo.py, demo_count.py).
"""

import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from autopay.cli.agent.advice import advice
from autopay.cli.agent.launch_steps import grant_all
from autopay.cli.connect.connections import vault_of
from autopay.cli.demo.agent_setup import AUTO_APPROVED, ENOUGH, LITTLE, WINDOW_S, allowances, described, order, watches
from autopay.cli.demo.context import ChapterFacts, DemoContext
from autopay.cli.demo.fault_chapters import a_worker_dies, the_chain_goes_away
from autopay.cli.request.approval_steps import decide_approval
from autopay.cli.session.owner import notify_agent
from autopay.domain.agent.spec import Rules
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.money import show
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.policy.records import ApprovalRecord

Chapter = Callable[[DemoContext], Awaitable[ChapterFacts]]

QUESTION = "Which fees are worth their price on a quiet chain?"


async def by_priority(stage: DemoContext) -> ChapterFacts:
    """Everything is due at once, one purchase at a time: what is worth most per unit of money comes first."""
    stage.say(f"agent {stage.agent.name} keeps five things fresh, each for {WINDOW_S} s:")
    for watch in watches(stage.addresses):
        stage.say(described(watch, stage.addresses))
    await stage.until_agent(_all_stale, "every watch to be due")
    await stage.agent.signal("resume")
    stage.say("signal resume: all five are due, and one purchase may run at a time")
    status = await stage.until_agent(lambda status: len(status.next) >= 3, "the queue")
    queue = [(each.request_id, each.score) for each in status.next]
    running = ", ".join(status.in_flight) or "the best"
    names = ", ".join(f"{name} ({score:g})" for name, score in queue)
    stage.say(f"{running} first, then by score (one more is worth twice as much for its price): {names}")
    await stage.until_agent(lambda status: _is_short(status) or _all_bought(status), "all to be bought")
    return {"queue": [name for name, _ in queue], "scores": [score for _, score in queue]}


async def money_runs_low(stage: DemoContext) -> ChapterFacts:
    """The agent pauses by itself and says what it takes; the owner grants more; it goes on by itself."""
    stage.say(f"its sessions hold {allowances(LITTLE)}; it goes on buying")
    status = await stage.until_agent(_is_short, "the agent to run low")
    reason = status.reason
    stage.say(f"the agent pauses by itself: {reason}")
    for line in advice(status, on_localnet=True):
        stage.say(f"what it takes, as a command: {line.rpartition(': ')[2]}")
    began = time.monotonic()
    async with stage.ledger.sessions.lock_agent(stage.agent.name):
        more = order(stage.agent.name, stage.addresses, ENOUGH)
        granted = await grant_all(stage.settings, stage.ledger, vault_of(stage.settings), more)
    for each, currency in zip(granted, more.currencies, strict=True):
        stage.say(f"the owner's test wallet grants a new session of {show(ENOUGH, currency)} ({each.signature[:12]}…)")
    shown = time.monotonic()
    if unheard := await notify_agent(stage.settings, stage.agent.name):
        stage.say(unheard)
    before = status.payments
    await stage.until_agent(lambda status: status.state is AgentState.RUNNING, "the agent to go on")
    resumed_s = time.monotonic() - shown
    stage.say(f"the agent goes on by itself, {resumed_s:.1f} s after the chain shows it")
    await stage.agent.update("rules", Rules())
    await stage.until_agent(lambda status: status.payments > before, "the next payment")
    return {"reason": reason, "resumed_after_s": round(resumed_s, 1), "took_s": round(shown - began, 1)}


async def a_person(stage: DemoContext) -> ChapterFacts:
    """One payment above the auto-approve amount waits for a person, and is paid on exactly the terms shown."""
    await stage.ledger.policies.set(Policy(auto_approve_atomic=AUTO_APPROVED), stage.agent.name)
    await stage.agent.update("phase", Phase.INTERACTIVE)
    stage.say(f"phase interactive: what costs more than {show(AUTO_APPROVED, 'USD')} asks first")
    request_id = "a-question"
    await stage.ask(request_id, "POST", "/api/ai-insights", {"question": QUESTION})
    await stage.until_agent(lambda status: _is_held(status, request_id, "approval"), "the payment to ask")
    question = await _question(stage, request_id)
    for line in _terms(question):
        stage.say(line)
    await decide_approval(stage.settings, stage.ledger, question, approve=True)
    stage.say(f"the demo says yes for that person, to exactly these terms: approve {str(question.approval_id)[:8]}")
    view = await stage.until(lambda view: request_id in view.delivered(), "the approved payment")
    row = view.payments_of(request_id)[0]
    stage.say(f"{request_id}: paid {show(row.amount_atomic, row.currency)} to {row.pay_to}")
    stage.say(f"the answer: {await _answer(stage, row.request_key)}")
    same = (row.amount_atomic, row.pay_to) == (question.terms.amount_atomic, question.terms.pay_to)
    return {"approval_id": str(question.approval_id), "paid_as_approved": same}


async def the_end(stage: DemoContext) -> ChapterFacts:
    """What is under way becomes final; nothing new begins."""
    await stage.agent.signal("stop")
    stage.say("signal stop: nothing new begins, and what was paid becomes final")
    view = await stage.until(
        lambda view: view.status is not None and view.status.state is AgentState.STOPPED, "the stop"
    )
    finals = sum(row.status == "VERIFIED" for row in view.rows)
    stage.say(f"the agent has stopped: {finals} payments are final on chain")
    again = [row for row in view.rows if row.sends > 1 and row.status == "VERIFIED"]
    for row in reversed(again):
        stage.say(f"{row.request_id} was sent {row.sends} times and paid once: {row.hash}")
    return {"final": finals, "sent_again": {str(row.request_id): row.hash for row in again}}


CHAPTERS: tuple[tuple[str, str, Chapter], ...] = (
    ("priority", "1. It buys what is worth most", by_priority),
    ("money", "2. Money runs low", money_runs_low),
    ("person", "3. A person is asked", a_person),
    ("outage", "4. The chain goes away", the_chain_goes_away),
    ("kill", "5. A worker is killed in the middle of a payment", a_worker_dies),
    ("end", "6. It stops, and the money is counted twice", the_end),
)


async def _answer(stage: DemoContext, request_key: str) -> str:
    """What the Knowledge Data API said, as the ledger keeps it."""
    stored = await stage.ledger.requests.content(request_key)
    assert stored is not None, "it was delivered"
    return str(json.loads(stored[1])["answer"])


async def _question(stage: DemoContext, request_id: str) -> ApprovalRecord:
    """What a person is asked about that request."""
    [question] = [
        each for each in await stage.ledger.policies.approvals(stage.agent.name) if each.terms.request_id == request_id
    ]
    return question


def _terms(question: ApprovalRecord) -> list[str]:
    terms = question.terms
    return [
        f"{terms.request_id} waits for a person: {question.why}",
        f"pay {show(terms.amount_atomic, terms.currency)} to {terms.pay_to} for {terms.method} {terms.url}, "
        f"body sha256 {(terms.body_hash or '')[:12]}…, good until {question.expires_at:%F %T} UTC",
    ]


def _all_stale(status: AgentStatus) -> bool:
    now = datetime.now(UTC)
    since = [each.stale_since for each in status.watches]
    return not status.in_flight and all(each is not None and each <= now for each in since)


def _all_bought(status: AgentStatus) -> bool:
    return all(each.last is not None for each in status.watches)


def _is_short(status: AgentStatus) -> bool:
    return status.state is AgentState.PAUSED and not status.in_flight


def _is_held(status: AgentStatus, request_id: str, why: str) -> bool:
    return any(each.request_id == request_id and each.why == why for each in status.held)
