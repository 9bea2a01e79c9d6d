"""What many agents cost: `make bench-agents`. Some minutes on an embedded stack of its own, with one worker.

Launches agents as `launch --file` does, each with a watch; waits until each has bought once; measures two minutes of
steady state; times `starter.py agents`; and writes `agents.md` beside this file.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.cli.connect.connections import vault_of
from autopay.cli.launch.launch_order import LaunchOrder, LaunchOutcome
from autopay.cli.launch.launch_steps import launch_all
from autopay.domain.agent.spec import Watch
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.report.filter import Filter
from autopay.domain.request import agent_workflow_id, payment_workflow_id
from autopay.settings import Settings
from autopay.temporal.connection import connect
from benchmarks.machine import Cost, cost_of, machine, tell
from benchmarks.page import asked, told
from localnet.stack import Stack

REPORT = Path(__file__).with_suffix(".md")
PARTS = ("worker-1", "temporal", "postgres", "chain", "sellers", "facilitator")
SAMPLE = 20
"""Histories that are read to count workflow tasks; all of them would be a load of its own."""

SHOWN = ("/", "/agents", "/sessions", "/api/agents", "/api/sessions", "/api/balances")
"""What the page and the API show of many agents."""

PATIENCE_S = 240


@dataclass
class Town:
    """A stack with one worker, and its agents."""

    stack: Stack
    settings: Settings
    client: Client
    ledger: PostgresLedger
    market: str
    names: Sequence[str]
    outcomes: list[LaunchOutcome] = field(default_factory=list)
    launched_at: dict[str, datetime] = field(default_factory=dict)

    def launched(self, launched: LaunchOutcome) -> None:
        """One more."""
        self.outcomes.append(launched)
        self.launched_at[launched.agent] = datetime.now(UTC)

    def costs(self) -> dict[str, Cost]:
        return {part: cost_of(self.stack.pid(part)) for part in PARTS}

    async def deliveries(self, since: datetime | None = None) -> dict[str, list[tuple[datetime, str]]]:
        """By agent: when each payment that brought its content was signed, and its request."""
        found: dict[str, list[tuple[datetime, str]]] = {name: [] for name in self.names}
        async for batch in self.ledger.reports.every_payment(Filter(since=since)):
            for row in batch:
                if row.delivery == "DELIVERED" and row.request_id is not None:
                    found[row.agent].append((row.created_at, row.request_id))
        return found


@asynccontextmanager
async def town(home: Path, names: Sequence[str]) -> AsyncIterator[Town]:
    """A stack of its own, on any free ports."""
    stack = Stack(home, workers=1, ephemeral=True, report=tell)
    async with stack as addresses:
        settings = Settings.load(home=home).resolve()
        ledger = open_ledger(addresses.database_url)
        yield Town(stack, settings, await connect(settings), ledger, addresses.market_api, names)
        await ledger.dispose()


async def launched(here: Town, every_s: int) -> float:
    """Launch all; seconds that took."""
    watch = Watch(name="feed", url=f"{here.market}/api/market-feed", every_s=every_s)
    orders = [
        LaunchOrder(
            name=name,
            phase=Phase.FULL,
            currencies=(Currency.USDC,),
            allowance_atomic=1_000_000,
            tx_limit=1_000,
            duration_s=86_400,
            watches=(watch,),
        )
        for name in here.names
    ]
    began = time.monotonic()
    args = (here.settings, here.ledger, here.client, vault_of(here.settings), orders, here.launched)
    await launch_all(*args)
    failed = [each for each in here.outcomes if each.outcome != "launched"]
    if failed:
        raise RuntimeError(f"{len(failed)} agents were not launched: {failed[0].error}")
    return time.monotonic() - began


async def all_have_bought(here: Town) -> Sequence[float]:
    """Wait until each has; seconds from each one's launch to its first purchase."""
    began = time.monotonic()
    while not all((bought := await here.deliveries()).values()):
        if time.monotonic() - began > PATIENCE_S:
            raise RuntimeError(f"some agents have bought nothing in {PATIENCE_S} s")
        await asyncio.sleep(0.5)
    firsts = {name: min(at for at, _ in each) for name, each in bought.items()}
    return [(first - here.launched_at[name]).total_seconds() for name, first in firsts.items()]


@dataclass(frozen=True)
class Steady:
    """A while in which nothing is launched. Rates are a second; `late_s` is by how much purchases came after their
    window had passed."""

    seconds: float
    payments: int
    cpu: dict[str, float]
    rss_mb: dict[str, float]
    agent_tasks: float
    payment_tasks: float
    late_s: Sequence[float]
    load: float

    @property
    def tasks_a_second(self) -> float:
        """Workflow tasks of agents and payments together."""
        return self.agent_tasks + self.payment_tasks


async def steady_state(here: Town, seconds: float, every_s: int) -> Steady:
    """Watch it, and count."""
    before, began = here.costs(), time.monotonic()
    since = datetime.now(UTC)
    await asyncio.sleep(seconds)
    after, took = here.costs(), time.monotonic() - began
    until = datetime.now(UTC)
    window = await here.deliveries(since)
    in_it = [(name, at, request) for name, each in window.items() for at, request in each if at <= until]
    agents = [agent_workflow_id(name) for name in _sample(here.names)]
    payments = [payment_workflow_id(name, request) for name, _, request in _sample(in_it)]
    of_agents = [await _tasks(here.client, each, since, until) for each in agents]
    of_payments = [await _tasks(here.client, each) for each in payments]
    return Steady(
        seconds=took,
        payments=len(in_it),
        cpu={part: (after[part].cpu_s - before[part].cpu_s) / took for part in PARTS},
        rss_mb={part: after[part].rss_mb for part in PARTS},
        agent_tasks=statistics.mean(of_agents) * len(here.names) / took,
        payment_tasks=statistics.mean(of_payments) * len(in_it) / took,
        late_s=_late(await here.deliveries(), since, every_s),
        load=os.getloadavg()[0],
    )


async def _tasks(client: Client, workflow_id: str, since: datetime | None = None, until: datetime | None = None) -> int:
    """Workflow tasks that were completed in that time."""
    count = 0
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        at = event.event_time.ToDatetime(UTC)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            count += (since is None or at >= since) and (until is None or at <= until)
    return count


def _late(bought: dict[str, list[tuple[datetime, str]]], since: datetime, every_s: int) -> list[float]:
    found = []
    for each in bought.values():
        times = sorted(at for at, _ in each)
        found += [(b - a).total_seconds() - every_s for a, b in pairwise(times) if b >= since]
    return found


def _sample(values: Sequence[tuple[str, datetime, str]] | Sequence[str]) -> Sequence:  # type: ignore[type-arg]
    step = max(1, len(values) // SAMPLE)
    return values[::step][:SAMPLE]


async def listed(home: Path, *more: str) -> float:
    """Seconds that `starter.py agents` takes, as a process."""
    began = time.monotonic()
    starter = Path(__file__).parents[1] / "starter.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(starter), "agents", "--home", str(home), *more, stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait() != 0:
        raise RuntimeError("starter.py agents failed")
    return time.monotonic() - began


def report(
    count: int, every_s: int, launch_s: float, first_s: Sequence[float], steady: Steady, list_s: Sequence[float]
) -> str:
    """The page, in Markdown."""
    rows = [f"| {part} | {steady.cpu[part] * 100:.0f} % | {steady.rss_mb[part]:.0f} MB |" for part in PARTS]
    total = f"| all | {sum(steady.cpu.values()) * 100:.0f} % | {sum(steady.rss_mb.values()):.0f} MB |"
    return "\n".join(
        [
            f"# {count} agents on one machine",
            "",
            f"Written by `make bench-agents` on {datetime.now(UTC):%F}; run it to repeat this (some minutes).",
            "",
            f"- machine: {machine()}; its load was {steady.load:.1f} at the end, other work included",
            f"- {count} agents in phase FULL, a watch of {every_s} s each; one worker; slots of 400 ms",
            "",
            "| what | |",
            "|---|---|",
            f"| launched, each with a session of its own | {launch_s:.0f} s, {count / launch_s:.1f} a second |",
            f"| first purchase after the launch | {_spread(first_s)}, {max(first_s):.1f} s at most |",
            f"| purchases in {steady.seconds:.0f} s of steady state | {steady.payments}, "
            f"{steady.payments / steady.seconds:.1f} a second; {count / every_s:.1f} are wanted |",
            f"| purchases after their window had passed | {_spread(steady.late_s)} |",
            f"| workflow tasks | {steady.tasks_a_second:.0f} a second: {steady.agent_tasks:.0f} of agents, "
            f"{steady.payment_tasks:.0f} of payments (from {SAMPLE} histories of each) |",
            f"| the worker's share for an agent | {steady.rss_mb['worker-1'] / count:.1f} MB, "
            f"{steady.cpu['worker-1'] / count * 100:.2f} % of a core |",
            f"| `starter.py agents` | {list_s[0]:.1f} s; with `--live` {list_s[1]:.1f} s |",
            "",
            "| part | CPU, of one core | memory |",
            "|---|--:|--:|",
            *rows,
            total,
            "",
            "Memory is resident, shared pages counted in each process: PostgreSQL's is less than it says. CPU is that "
            "of the steady state.",
            "",
        ]
    )


def _spread(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    return f"{statistics.median(ordered):.1f} s in the median, {ordered[int(len(ordered) * 0.95)]:.1f} s at 95 %"


async def main(count: int, every_s: int, seconds: float) -> str:
    """Measure; the page."""
    names = [f"agent-{number:03}" for number in range(count)]
    with tempfile.TemporaryDirectory(prefix="autopay-bench-") as directory:
        home = Path(directory) / "home"
        os.environ["AUTOPAY_HOME"] = str(home)
        async with town(home, names) as here:
            tell(f"launching {count} agents ...")
            launch_s = await launched(here, every_s)
            tell(f"launched in {launch_s:.0f} s; until each has bought once ...")
            first_s = await all_have_bought(here)
            tell(f"{max(first_s):.1f} s at most; {seconds:.0f} s of steady state ...")
            steady = await steady_state(here, seconds, every_s)
            list_s = [await listed(home), await listed(home, "--live")]
            shown = await asked(here.settings.for_work(), SHOWN)
    return report(count, every_s, launch_s, first_s, steady, list_s) + "\n".join(["", *told(shown), ""])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--every", type=int, default=60, help="seconds that data stays fresh")
    parser.add_argument("--seconds", type=float, default=120, help="of steady state")
    parser.add_argument("--out", type=Path, default=REPORT)
    given = parser.parse_args()
    page = asyncio.run(main(given.agents, given.every, given.seconds))
    given.out.write_text(page)
    sys.stdout.write(page)
