"""`status`, `agents` and the ledger agree at any moment, watched while an agent lives through all that it can.

What changes while it is read is not judged: the ledger and the list are read before and after the status, and where
both readings are the same, what was read in between must be the same. What the ledger has is the same when no row of
the agent has changed in between, which its version tells: a queue may fill and empty meanwhile. Nothing waits for
things to calm down.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from temporalio.client import Client

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.client.agents.agent_list import AgentLine, agent_lines
from autopay.client.agents.agent_view import AgentView, agent_view
from autopay.client.agents.handle import AgentHandle
from autopay.client.requests.decisions import decide_approval
from autopay.domain.agent.spec import Rules
from autopay.domain.agent.status import AgentState
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.report.filter import Filter
from autopay.domain.request import RequestSpec
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from autopay.temporal.connection import connect
from tests.stack.shell import Shell
from tests.stack.town import until

NAME = "agrees"
FEED, NOTHING_THERE = "/api/market-feed", "/api/nothing-there"
ROUNDS = 1
"""At least so many rounds of looks begin and end in each stage of the agent's life."""

ENDS = "SELECT outcome, count(*) FROM api_request_logs JOIN agents a ON a.id = agent_id WHERE a.name = :name AND"

OWN_WORDS = frozenset({"state", "reason"})
"""What an agent says of itself, whatever changes in the ledger."""

VERSION = """
    SELECT (SELECT max(seq) FROM audit_events WHERE agent_id = a.id),
           (SELECT count(*) FROM balance_snapshots WHERE agent_id = a.id),
           (SELECT count(*) FROM priority_queue WHERE agent_id = a.id),
           (SELECT count(processed_at) FROM priority_queue WHERE agent_id = a.id)
    FROM agents a WHERE a.name = :name"""

Facts = dict[str, Any]


@dataclass
class Watcher:
    """Looks at the agent again and again, as the commands do; `contradictions` should stay empty."""

    settings: Settings
    ledger: PostgresLedger
    client: Client
    rounds: int = 0
    quiet_rounds: int = 0
    states: set[AgentState] = field(default_factory=set)
    contradictions: list[str] = field(default_factory=list)

    async def watch(self) -> None:
        """Until the agent has stopped."""
        while AgentState.STOPPED not in self.states:
            await self.look()

    async def look(self) -> None:
        """Once around. Every second time the agents are asked themselves by `agents`, too."""
        live = self.rounds % 2 == 0
        version, ledger, listed = await self._version(), await self._ledger(), await self._listed(live=live)
        view = await self.view()
        listed_after, ledger_after, version_after = (
            await self._listed(live=live),
            await self._ledger(),
            await self._version(),
        )
        self.states.add(view.status.state)
        shown = of_status(view)
        if version == version_after:
            self.quiet_rounds += 1
            self._judge("ledger", ledger, ledger_after, agents=listed, status=shown)
            self._judge("agents", listed, listed_after, status=shown)
        else:
            self._judge("agents", listed, listed_after, only=OWN_WORDS, status=shown)
        self.contradictions += within(view)
        self.rounds += 1

    def _judge(
        self, source: str, before: Facts, after: Facts, only: frozenset[str] | None = None, **between: Facts
    ) -> None:
        for command, facts in between.items():
            for name in before.keys() & after.keys() & facts.keys() & (only or before.keys()):
                if before[name] == after[name] != facts[name]:
                    said = f"{facts[name]!r} in {command}, {before[name]!r} in {source}"
                    self.contradictions.append(f"round {self.rounds}: {name}: {said}")

    async def _version(self) -> tuple[Any, ...]:
        """Changes with every row of the agent that does."""
        async with self.ledger.database.engine.connect() as db:
            return tuple((await db.execute(text(VERSION), {"name": NAME})).one())

    async def view(self) -> AgentView:
        """As `status` shows it."""
        found = await AgentHandle(self.client, NAME, self.settings.task_queue).status()
        return agent_view(found, await self.ledger.agents.summary(NAME))

    async def _listed(self, *, live: bool) -> Facts:
        """As `agents` shows it."""
        lines = await agent_lines(self.ledger, self.client, self.settings.task_queue, live=live)
        (line,) = [each for each in lines if each.name == NAME]
        return of_line(line)

    async def _ledger(self) -> Facts:
        """As `ledger spend`, `approvals` and the tables themselves have it."""
        rows = (await self.ledger.reports.spend(Filter(agent=NAME))).rows
        questions = await self.ledger.policies.approvals(NAME)
        async with self.ledger.database.engine.connect() as db:
            ended = await db.execute(text(f"{ENDS} closed_at IS NOT NULL GROUP BY outcome"), {"name": NAME})
            counts: dict[str, int] = dict(ended.all())
        return {
            "phase": (await self.ledger.agents.get(NAME)).phase,
            "spent": {row.currency: row.settled_atomic for row in rows if row.settled_atomic},
            "open": {row.currency: row.open_atomic for row in rows if row.open_atomic},
            "payments": (sum(row.settled for row in rows), sum(row.open for row in rows)),
            "questions": len(questions),
            "asked": sorted(each.terms.request_id for each in questions),
            "delivered": counts.get("delivered", 0) + counts.get("free", 0),
            "not delivered": [counts.get(how, 0) for how in ("failed", "refused", "undelivered", "fresh")],
        }

    async def stage(self) -> None:
        """Some rounds begin and end while the agent is as it is now."""
        reached = self.rounds + 1 + ROUNDS

        async def watched() -> bool:
            return self.rounds >= reached

        await until(watched)


def of_status(view: AgentView) -> Facts:
    """What `status --json` says."""
    told = view.as_json()
    held = [each["request_id"] for each in told["held"] if each["why"] == "approval"]
    return {
        "state": told["state"],
        "reason": told["reason"],
        "phase": told["phase"],
        "spent": told["spent_atomic"],
        "open": told["open_atomic"],
        "today": told["spent_today_atomic"],
        "payments": (told["payments"], told["open_payments"]),
        "spendable": [(each["currency"], each["spendable_atomic"], each["limit"]) for each in told["spendable"]],
        "questions": len(held),
        "asked": sorted(held),
        "held": len(told["held"]),
        "queued": len(told["queued"]),
        "delivered": told["delivered"],
        "not delivered": [told[how] for how in ("failed", "refused", "undelivered", "fresh")],
    }


def of_line(line: AgentLine) -> Facts:
    """What `agents --json` says; why an agent waits is its own word only when it was asked."""
    facts: Facts = {
        "state": line.state,
        "phase": line.phase,
        "spent": line.spent_atomic,
        "open": line.open_atomic,
        "today": line.spent_today_atomic,
        "payments": (line.payments, line.open_payments),
        "spendable": [(each["currency"], each["spendable_atomic"], each["limit"]) for each in line.spendable],
        "queued": line.queued,
    }
    return facts | ({"reason": line.why, "held": line.held} if line.live else {"questions": line.held})


def within(view: AgentView) -> list[str]:
    """What one status says twice."""
    status = view.status
    places = [*status.in_flight, *status.settling, *(each.request_id for each in status.held), *status.queued]
    wrong = [f"{name} is in two places" for name in set(places) if places.count(name) > 1]
    is_short = bool(view.spendable) and all(
        each.spendable_atomic < status.rules.needed(each.currency) for each in view.spendable
    )
    if status.state is AgentState.PAUSED and status.reason is None:
        wrong.append("paused for no reason")
    if is_short and status.in_flight and status.state is AgentState.STOPPED:
        wrong.append("stopped, and something is under way")
    return wrong


@pytest.fixture
async def watcher(common_stack: StackFile) -> AsyncIterator[Watcher]:
    settings = Settings.load(home=Path(common_stack.home)).resolve()
    ledger = open_ledger(settings.database_url)
    yield Watcher(settings, ledger, await connect(settings))
    await ledger.dispose()


async def test_what_is_said_of_an_agent_agrees_at_any_moment(watcher: Watcher, common_stack: StackFile) -> None:
    shell = Shell(Path(common_stack.home))
    await shell("launch", NAME, "--phase", "full", "--allowance", "0.1")
    agent = AgentHandle(watcher.client, NAME, watcher.settings.task_queue)
    await watcher.ledger.policies.set(Policy(per_agent_day_atomic=50_000), NAME)
    watching = asyncio.create_task(watcher.watch())
    try:
        await live(watcher, agent, common_stack.market_api)
    finally:
        if watcher.contradictions or not watching.done():
            await agent.signal("stop")
        await asyncio.wait({watching}, timeout=60)
    await watching
    assert watcher.contradictions == []
    assert watcher.states >= {AgentState.RUNNING, AgentState.PAUSED, AgentState.STOPPED}
    assert watcher.quiet_rounds >= ROUNDS
    told = await shell.json("status", NAME)
    (line,) = [each for each in await shell.json("agents") if each["name"] == NAME]
    spent = await shell.json("ledger", "spend", "--agent", NAME)  # one line, as there is one currency
    assert told["state"] == line["state"] == "stopped"
    assert told["spent_atomic"] == line["spent_atomic"] == {"USDC": 5_000}
    assert (spent["settled"], told["payments"], line["payments"]) == ("0.005000", 5, 5)
    assert told["spendable"][0]["limit"] == line["spendable"][0]["limit"] == "policy_day"


async def live(watcher: Watcher, agent: AgentHandle, market: str) -> None:
    """Buys, is paused, resumed, short of money, asks, is told not to ask any more, fails, and stops."""

    async def ask(*names: str, path: str = FEED) -> None:
        for name in names:
            await agent.request(RequestSpec(request_id=name, url=market + path), 15)

    async def asked(*names: str) -> None:
        async def are() -> bool:
            return {each.terms.request_id for each in await watcher.ledger.policies.approvals(NAME)} == set(names)

        await until(are)

    await ask("one", "two")
    await watcher.stage()
    await agent.signal("pause", "lunch")
    await ask("three")
    await watcher.stage()
    await agent.signal("resume")
    await watcher.stage()
    await agent.update("rules", Rules(thresholds={Currency.USDC: 200_000}))
    await watcher.stage()
    await agent.update("rules", Rules())
    await agent.update("phase", Phase.INTERACTIVE)
    await ask("four", "five")
    await asked("four", "five")
    await watcher.stage()
    four = next(each for each in await watcher.ledger.policies.approvals(NAME) if each.terms.request_id == "four")
    await decide_approval(watcher.settings, watcher.ledger, four, approve=True)
    await asked("five")
    await agent.update("phase", Phase.FULL)
    await ask("fails", path=NOTHING_THERE)
    await watcher.stage()
    await agent.signal("stop")
