"""The demo's chapters. What they print is read from the agent, the ledger or the chain; each returns its part of the
line of `--json`.
"""

import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from autopay.cli.connect.connections import vault_of
from autopay.cli.demo.agent_setup import (
    AUTO_APPROVED,
    FIRST_ALLOWANCE,
    SECOND_ALLOWANCE,
    WINDOW_S,
    allowances,
    describe_watch,
    launch_order,
    watches,
)
from autopay.cli.demo.context import ChapterFacts, DemoContext
from autopay.cli.demo.fault_chapters import kill_a_worker, lose_the_chain
from autopay.cli.launch.launch_steps import grant_all
from autopay.cli.session.owner import notify_agent
from autopay.client.agents.advice import advice
from autopay.client.agents.agent_view import agent_view
from autopay.client.requests.decisions import decide_approval
from autopay.domain.agent.spec import Rules
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.money import show
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.policy.records import ApprovalRecord

Chapter = Callable[[DemoContext], Awaitable[ChapterFacts]]

QUESTION = "Which fees are worth their price on a quiet chain?"


async def buy_by_priority(demo: DemoContext) -> ChapterFacts:
    """Everything is due at once, one purchase at a time: what is worth most per unit of money comes first."""
    demo.note(f"agent {demo.agent.name} keeps five things fresh, each for {WINDOW_S} s:")
    for watch in watches(demo.addresses):
        demo.note(describe_watch(watch, demo.addresses))
    await demo.wait_until_agent(_all_stale, "every watch to be due")
    await demo.agent.signal("resume")
    demo.note("signal resume: all five are due, and one purchase may run at a time")
    status = await demo.wait_until_agent(lambda status: len(status.next) >= 3, "the queue")
    queue = [(each.request_id, each.score) for each in status.next]
    running = ", ".join(status.in_flight) or "the best"
    names = ", ".join(f"{name} ({score:g})" for name, score in queue)
    demo.note(f"{running} first, then by score (one more is worth twice as much for its price): {names}")
    await demo.wait_until_agent(lambda status: _is_short(status) or _all_bought(status), "all to be bought")
    return {"queue": [name for name, _ in queue], "scores": [score for _, score in queue]}


async def run_out_of_money(demo: DemoContext) -> ChapterFacts:
    """The agent pauses by itself and says what it takes; the owner grants more; it goes on by itself."""
    demo.note(f"its sessions hold {allowances(FIRST_ALLOWANCE)}; it goes on buying")
    status = await demo.wait_until_agent(_is_short, "the agent to run low")
    reason = status.reason
    demo.note(f"the agent pauses by itself: {reason}")
    view = agent_view(status, await demo.ledger.agents.summary(demo.agent.name))
    for line in advice(view, on_localnet=True):
        demo.note(f"what it takes, as a command: {line.rpartition(': ')[2]}")
    began = time.monotonic()
    async with demo.ledger.sessions.lock_agent(demo.agent.name):
        more = launch_order(demo.agent.name, demo.addresses, SECOND_ALLOWANCE)
        async with demo.display.waiting("the owner's new sessions to be on chain"):
            granted = await grant_all(demo.settings, demo.ledger, vault_of(demo.settings), more)
    for each, currency in zip(granted, more.currencies, strict=True):
        money, signature = show(SECOND_ALLOWANCE, currency), each.signature[:12]
        demo.note(f"the owner's test wallet grants a new session of {money} ({signature}…)")
    shown = time.monotonic()
    if problem := await notify_agent(demo.settings, demo.agent.name):
        demo.note(problem)
    before = status.payments
    await demo.wait_until_agent(lambda status: status.state is AgentState.RUNNING, "the agent to go on")
    resumed_s = time.monotonic() - shown
    demo.note(f"the agent goes on by itself, {resumed_s:.1f} s after the chain shows it")
    await demo.agent.update("rules", Rules())
    await demo.wait_until_agent(lambda status: status.payments > before, "the next payment")
    return {"reason": reason, "resumed_after_s": round(resumed_s, 1), "took_s": round(shown - began, 1)}


async def ask_a_person(demo: DemoContext) -> ChapterFacts:
    """One payment above the auto-approve amount waits for a person, and is paid on exactly the terms shown."""
    await demo.ledger.policies.set(Policy(auto_approve_atomic=AUTO_APPROVED), demo.agent.name)
    await demo.agent.update("phase", Phase.INTERACTIVE)
    demo.note(f"phase interactive: what costs more than {show(AUTO_APPROVED, 'USD')} asks first")
    request_id = "a-question"
    await demo.request(request_id, "POST", "/api/ai-insights", {"question": QUESTION})
    await demo.wait_until_agent(lambda status: _is_held(status, request_id, "approval"), "the payment to ask")
    question = await _question(demo, request_id)
    for line in _terms_lines(question):
        demo.note(line)
    await decide_approval(demo.settings, demo.ledger, question, approve=True)
    demo.note(f"the demo says yes for that person, to exactly these terms: approve {str(question.approval_id)[:8]}")
    snapshot = await demo.wait_until(lambda snapshot: request_id in snapshot.delivered(), "the approved payment")
    row = snapshot.payments_of(request_id)[0]
    demo.note(f"{request_id}: paid {show(row.amount_atomic, row.currency)} to {row.pay_to}")
    demo.note(f"the answer: {await _answer(demo, row.request_key)}")
    same = (row.amount_atomic, row.pay_to) == (question.terms.amount_atomic, question.terms.pay_to)
    return {"approval_id": str(question.approval_id), "paid_as_approved": same}


async def stop_and_count(demo: DemoContext) -> ChapterFacts:
    """What is under way becomes final; nothing new begins."""
    await demo.agent.signal("stop")
    demo.note("signal stop: nothing new begins, and what was paid becomes final")
    await demo.wait_until_agent(lambda status: status.state is AgentState.STOPPED, "every payment to be final")
    snapshot = await demo.refresh()  # that one's payments may have been read before its state
    finals = sum(row.status == "VERIFIED" for row in snapshot.rows)
    demo.note(f"the agent has stopped: {finals} payments are final on chain")
    again = [row for row in snapshot.rows if row.sends > 1 and row.status == "VERIFIED"]
    for row in reversed(again):
        demo.note(f"{row.request_id} was sent {row.sends} times and paid once: {row.hash}")
    return {"final": finals, "sent_again": {str(row.request_id): row.hash for row in again}}


CHAPTERS: tuple[tuple[str, str, Chapter], ...] = (
    ("priority", "1. It buys what is worth most", buy_by_priority),
    ("money", "2. Money runs low", run_out_of_money),
    ("person", "3. A person is asked", ask_a_person),
    ("outage", "4. The chain goes away", lose_the_chain),
    ("kill", "5. A worker is killed in the middle of a payment", kill_a_worker),
    ("end", "6. It stops, and the money is counted twice", stop_and_count),
)


async def _answer(demo: DemoContext, request_key: str) -> str:
    """The answer of the Knowledge Data API, from the content in the ledger."""
    stored = await demo.ledger.requests.content(request_key)
    assert stored is not None, "it was delivered"
    return str(json.loads(stored.body)["answer"])


async def _question(demo: DemoContext, request_id: str) -> ApprovalRecord:
    """The approval that the request waits for."""
    [question] = [
        each for each in await demo.ledger.policies.approvals(demo.agent.name) if each.terms.request_id == request_id
    ]
    return question


def _terms_lines(question: ApprovalRecord) -> list[str]:
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
