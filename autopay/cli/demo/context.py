"""What every chapter of the demo works with: the running stack, one agent, and functions to act and to wait."""

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
from autopay.cli.connect.connections import vault_of
from autopay.cli.demo.display import Display
from autopay.cli.demo.stages import headline
from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.client.agents.handle import AgentHandle
from autopay.client.errors import AgentNotAnswering, AgentNotRunning, AutopayError
from autopay.client.requests.order import RequestOrder
from autopay.domain.agent.status import AgentStatus
from autopay.domain.errors import Fault
from autopay.domain.report.rows import TimelineRow
from autopay.domain.request import Method
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile

if TYPE_CHECKING:
    from localnet.stack import Stack

ChapterFacts = dict[str, Any]
"""What a chapter found, for `--json`."""

WAIT_S = 60
POLL_S = 0.1
STATUS_TIMEOUT_S = 2
"""A worker that was killed answers no query; the ledger is shown all the same."""

REQUEST_TIMEOUT_S = 15
STOP_TIMEOUT_S = 5
ROWS = 150
NAME = re.compile(r"demo-\d{4}-\d{6}")


@dataclass(frozen=True)
class Snapshot:
    """The agent's payments at one moment, newest first, and its status; None while no worker answers."""

    rows: Sequence[TimelineRow]
    status: AgentStatus | None

    def payments_of(self, request_id: str) -> list[TimelineRow]:
        """Every attempt of that request, newest first."""
        return [row for row in self.rows if row.request_id == request_id]

    def delivered(self) -> set[str]:
        """Requests that were paid and delivered."""
        return {row.request_id for row in self.rows if row.delivery == "DELIVERED" and row.request_id is not None}


class DemoContext:
    """The stack, the agent and the display of one run of the demo."""

    def __init__(
        self, stack: "Stack", settings: Settings, ledger: PostgresLedger, client: Client, display: Display
    ) -> None:
        assert settings.stack is not None, "the stack runs"
        self.stack = stack
        self.addresses: StackFile = settings.stack
        self.settings = settings
        self.ledger = ledger
        self.client = client
        self.display = display
        self.agent = AgentHandle(client, f"demo-{time.strftime('%m%d-%H%M%S')}", settings.task_queue)

    def note(self, text: str) -> None:
        """Print a line."""
        self.display.note(text)

    async def refresh(self) -> Snapshot:
        """Read the ledger, query the agent, and print what has changed."""
        rows, status = await asyncio.gather(self.ledger.reports.timeline(self.agent.name, limit=ROWS), self._status())
        self.display.update(rows, status)
        return Snapshot(rows, status)

    async def wait_until(self, reached: Callable[[Snapshot], bool], what: str, within_s: float = WAIT_S) -> Snapshot:
        """Poll until `reached(snapshot)` is true.

        Raises:
            CommandError: after `within_s`; the message has `what` and the agent's status.
        """
        deadline = time.monotonic() + within_s
        async with self.display.waiting(what):
            while not reached(snapshot := await self.refresh()):
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"the demo waited {within_s:g} s for {what}; {headline(snapshot.status)}; "
                        f"see the logs in {self.settings.home}/logs",
                        ExitCode.FAULT,
                    )
                await asyncio.sleep(POLL_S)
        return snapshot

    async def wait_until_agent(self, reached: Callable[[AgentStatus], bool], what: str) -> AgentStatus:
        """Poll until `reached(status)` is true of the agent's status."""
        snapshot = await self.wait_until(lambda now: now.status is not None and reached(now.status), what)
        assert snapshot.status is not None
        return snapshot.status

    async def _status(self) -> AgentStatus | None:
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):
                return await self.agent.status()
        except (TimeoutError, AgentNotAnswering):
            return None

    async def set_faults(self, address: str, **faults: Any) -> None:
        """Set the faults of one service of the stack from now on; without any it works normally."""
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.put(f"{address}/weather", json={})).raise_for_status()
            if faults:
                (await client.put(f"{address}/weather", json=faults)).raise_for_status()

    async def request(self, request_id: str, method: Method, path: str, body: ChapterFacts | None = None) -> None:
        """Send the agent a request for the Knowledge Data API, as its owner would."""
        order = RequestOrder(
            agent=self.agent.name,
            request_id=request_id,
            url=self.addresses.knowledge_api + path,
            method=method,
            body=None if body is None else json.dumps(body).encode(),
            max_price_atomic=None,
            currency=None,
            timeout_s=REQUEST_TIMEOUT_S,
            headers={} if body is None else {"Content-Type": "application/json"},
        )
        async with self.display.waiting("the agent to take a request"):
            await self.agent.request(order.spec(vault_of(self.settings)), REQUEST_TIMEOUT_S)
        what = "" if body is None else f", {json.dumps(body)}"
        self.note(f"the owner asks for {request_id}: {method} {order.url}{what}")

    async def stop_agent(self) -> None:
        """Stop the agent, so that it buys nothing when this home is started again; never raises."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                with suppress(AgentNotRunning):
                    await self.agent.signal("stop")
        except (TimeoutError, AutopayError, Fault) as error:
            self.note(f"agent {self.agent.name} could not be stopped ({error}); the next demo stops it")


async def stop_earlier_agents(settings: Settings, ledger: PostgresLedger, client: Client) -> list[str]:
    """Stop agents of demos that were interrupted, before a worker runs that would buy for them; returns their names."""
    names = [each.agent.name for each in await ledger.agents.summaries() if NAME.fullmatch(each.agent.name)]
    agents = [AgentHandle(client, name, settings.task_queue) for name in names]
    running = await asyncio.gather(*(each.is_running() for each in agents))
    left = [each for each, runs in zip(agents, running, strict=True) if runs]
    await asyncio.gather(*(each.signal("stop") for each in left))
    return [each.name for each in left]
