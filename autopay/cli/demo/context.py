"""Where the demo plays: a running stack, one agent, and short words for what its chapters do and wait for.

What must not live here: the story (demo_story.py), and how things look (demo_board.py).
"""

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from temporalio.client import Client

from autopay.adapters.postgres import PostgresLedger
from autopay.cli.connect.agent_handle import AgentHandle, AgentNotAnswering, AgentNotRunning
from autopay.cli.connect.connections import vault_of
from autopay.cli.connect.exit_codes import CommandError, ExitCode
from autopay.cli.demo.display import Display, headline
from autopay.cli.request.request_steps import RequestOrder
from autopay.domain.agent.status import AgentStatus
from autopay.domain.errors import Fault
from autopay.domain.report.rows import TimelineRow
from autopay.domain.request import Method
from autopay.settings import Settings
from autopay.stack_file import StackFile

if TYPE_CHECKING:
    from localnet.stack import Stack

ChapterFacts = dict[str, Any]
"""What a chapter found, for `--json`."""

PATIENCE_S = 60
POLL_S = 0.1
STATUS_TIMEOUT_S = 2
"""A worker that was killed answers no query; the ledger is shown all the same."""

ASK_TIMEOUT_S = 15
LEAVE_S = 5
ROWS = 150
NAME = re.compile(r"demo-\d{4}-\d{6}")


@dataclass(frozen=True)
class Snapshot:
    """One look: the agent's payments, newest first, and its status; None while no worker answers."""

    rows: Sequence[TimelineRow]
    status: AgentStatus | None

    def payments_of(self, request_id: str) -> list[TimelineRow]:
        """Every attempt of that request, newest first."""
        return [row for row in self.rows if row.request_id == request_id]

    def delivered(self) -> set[str]:
        """Requests that were paid and brought content."""
        return {row.request_id for row in self.rows if row.delivery == "DELIVERED" and row.request_id is not None}


class DemoContext:
    """The stack, the agent and the board of one demo."""

    def __init__(
        self, stack: "Stack", settings: Settings, ledger: PostgresLedger, client: Client, board: Display
    ) -> None:
        assert settings.stack is not None, "the stack runs"
        self.stack = stack
        self.addresses: StackFile = settings.stack
        self.settings = settings
        self.ledger = ledger
        self.client = client
        self.board = board
        self.agent = AgentHandle(client, f"demo-{time.strftime('%m%d-%H%M%S')}", settings.task_queue)

    def say(self, text: str) -> None:
        """A line of the story."""
        self.board.say(text)

    async def look(self) -> Snapshot:
        """Read the ledger and ask the agent, and show what is new."""
        rows, status = await asyncio.gather(self.ledger.reports.timeline(self.agent.name, limit=ROWS), self._status())
        self.board.update(rows, status)
        return Snapshot(rows, status)

    async def until(self, reached: Callable[[Snapshot], bool], what: str, within_s: float = PATIENCE_S) -> Snapshot:
        """Look until it is so.

        Raises:
            CommandError: it takes too long; says what was waited for, and how things stand.
        """
        deadline = time.monotonic() + within_s
        while not reached(view := await self.look()):
            if time.monotonic() > deadline:
                raise CommandError(
                    f"the demo waited {within_s:g} s for {what}; {headline(view.status)}; "
                    f"see the logs in {self.settings.home}/logs",
                    ExitCode.FAULT,
                )
            await asyncio.sleep(POLL_S)
        return view

    async def until_agent(self, reached: Callable[[AgentStatus], bool], what: str) -> AgentStatus:
        """Look until the agent says so."""
        view = await self.until(lambda view: view.status is not None and reached(view.status), what)
        assert view.status is not None
        return view.status

    async def _status(self) -> AgentStatus | None:
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):
                return await self.agent.status()
        except (TimeoutError, AgentNotAnswering):
            return None

    async def weather(self, address: str, **faults: Any) -> None:
        """Faults that one of the stand-ins takes from now on; none is fair weather."""
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.put(f"{address}/weather", json={})).raise_for_status()
            if faults:
                (await client.put(f"{address}/weather", json=faults)).raise_for_status()

    async def ask(self, request_id: str, method: Method, path: str, body: ChapterFacts | None = None) -> None:
        """A request of the owner's own, of the Knowledge Data API."""
        asked = RequestOrder(
            agent=self.agent.name,
            launch_when_missing=False,
            request_id=request_id,
            url=self.addresses.knowledge_api + path,
            method=method,
            body=None if body is None else json.dumps(body).encode(),
            max_price_atomic=None,
            currency=None,
            timeout_s=ASK_TIMEOUT_S,
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        await self.agent.request(asked.spec(vault_of(self.settings)), ASK_TIMEOUT_S)
        what = "" if body is None else f", {json.dumps(body)}"
        self.say(f"the owner asks for {request_id}: {method} {asked.url}{what}")

    async def leave(self) -> None:
        """Tell the agent to stop, so that it buys nothing when this home is started again; never raises."""
        try:
            async with asyncio.timeout(LEAVE_S):
                with suppress(AgentNotRunning):
                    await self.agent.signal("stop")
        except (TimeoutError, CommandError, Fault) as error:
            self.say(f"agent {self.agent.name} could not be told to stop ({error}); the next demo tells it")


async def stop_earlier(settings: Settings, ledger: PostgresLedger, client: Client) -> list[str]:
    """Tell agents of demos that were broken off to stop, before a worker runs that would buy for them."""
    names = [each.agent.name for each in await ledger.agents.summaries() if NAME.fullmatch(each.agent.name)]
    calls = [AgentHandle(client, name, settings.task_queue) for name in names]
    running = await asyncio.gather(*(each.is_running() for each in calls))
    left = [each for each, runs in zip(calls, running, strict=True) if runs]
    await asyncio.gather(*(each.signal("stop") for each in left))
    return [each.name for each in left]
