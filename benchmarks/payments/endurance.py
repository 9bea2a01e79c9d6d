"""What a stack keeps as it goes on buying: memory of its parts and disk: `make bench-endurance`.

Buys some thousands of times through one agent, then leaves the stack alone with three watches of five seconds, as on a
developer's machine. Memory is that after each thousand purchases; a leak is what still grows after the first ones.
Prints a line of JSON for each reading and writes `benchmarks/payments_endurance.md`.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from autopay.client.agents.handle import AgentHandle
from autopay.domain.agent.spec import Watch
from benchmarks.machine import cost_of, machine
from benchmarks.payments.figures import json_lines
from benchmarks.payments.ours import agent_buyer
from benchmarks.payments.town import AGENT, HOUR_S, Town, tell, town

REPORT = Path(__file__).parents[1] / "payments_endurance.md"
AT_ONCE = 32
REQUESTS = 20_000
READ_EVERY = 1_000
SETTLED_AFTER = 2_000
"""Purchases after which memory is expected to stay: what is made once, and caches with a bound, are full by then."""
WATCHES, WATCH_EVERY_S = 3, 5
PARTS = ("worker-1", "temporal", "postgres")


@dataclass(frozen=True)
class KeptReading:
    """Resident memory by part and the stack's home on disk, in MB, after so many purchases and seconds."""

    purchases: int
    after_s: float
    memory_mb: dict[str, float]
    disk_mb: float

    def line(self) -> dict[str, Any]:
        """For programs."""
        return {"figure": "kept", **asdict(self)}


async def kept(here: Town, purchases: int, began: float) -> KeptReading:
    """Read it now."""
    memory = {part: round(cost_of(here.stack.pid(part)).rss_mb, 1) for part in PARTS}
    return KeptReading(purchases, round(time.monotonic() - began, 1), memory, round(await _disk_mb(here.home), 1))


async def bought(here: Town, requests: int) -> list[KeptReading]:
    """Buy that many, with a reading after each thousand."""
    began, found = time.monotonic(), []
    async with agent_buyer(here) as buyer:
        for begin in range(0, requests, READ_EVERY):
            await buyer.buy_all(f"{here.sellers[0]}/data", AT_ONCE, min(READ_EVERY, requests - begin))
            found.append(await kept(here, min(begin + READ_EVERY, requests), began))
            last = found[-1]
            tell(f"{last.purchases} bought: worker {last.memory_mb['worker-1']:g} MB, disk {last.disk_mb:g} MB")
    return found


async def watched(here: Town, seconds: float) -> tuple[KeptReading, KeptReading]:
    """Before and after a while in which an agent keeps three answers fresh and nothing else happens."""
    handle = AgentHandle(here.client, AGENT, here.settings.task_queue)
    for number in range(WATCHES):
        url = f"{here.sellers[0]}/data?watch={number}"
        await handle.update("watch", Watch(name=f"feed-{number}", url=url, every_s=WATCH_EVERY_S))
    tell(f"{seconds:g} s with {WATCHES} watches of {WATCH_EVERY_S} s ...")
    began = time.monotonic()
    before = await kept(here, 0, began)
    await asyncio.sleep(seconds)
    return before, await kept(here, 0, began)


async def _disk_mb(home: Path) -> float:
    def size() -> int:
        total = 0
        for directory, _, names in os.walk(home):
            for name in names:
                try:
                    total += (Path(directory) / name).stat().st_blocks * 512
                except FileNotFoundError:  # PostgreSQL removes files as it goes
                    continue
        return total

    return await asyncio.to_thread(size) / 1e6


def report(found: Sequence[KeptReading], watch: tuple[KeptReading, KeptReading]) -> str:
    """The page, in Markdown."""
    settled = next((each for each in found if each.purchases >= SETTLED_AFTER), found[-1])
    last = found[-1]
    grown = last.memory_mb["worker-1"] / settled.memory_mb["worker-1"] - 1
    an_hour = (watch[1].disk_mb - watch[0].disk_mb) / (watch[1].after_s - watch[0].after_s) * HOUR_S
    rows = [
        f"| {each.purchases} | "
        + " | ".join(f"{each.memory_mb[part]:.0f}" for part in PARTS)
        + f" | {each.disk_mb:.0f} |"
        for each in found
    ]
    return "\n".join(
        [
            "# What a stack keeps as it goes on buying",
            "",
            f"Written by `make bench-endurance` on {datetime.now(UTC):%F}; run it to repeat this. Machine: {machine()}",
            "",
            f"- the worker's memory after {last.purchases} purchases is {grown:+.1%} of that after {settled.purchases}",
            f"- one agent with {WATCHES} watches of {WATCH_EVERY_S} s adds {an_hour:.0f} MB of disk an hour "
            f"(read over {watch[1].after_s - watch[0].after_s:.0f} s)",
            "",
            "Resident memory in MB (PostgreSQL's counts shared pages in each of its processes), and the stack's home:",
            "",
            "| purchases | worker | Temporal | PostgreSQL | disk, MB |",
            "|--:|--:|--:|--:|--:|",
            *rows,
            "",
        ]
    )


async def main(given: argparse.Namespace) -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory(prefix="autopay-bench-") as directory:
        home = Path(directory) / "home"
        os.environ["AUTOPAY_HOME"] = str(home)
        async with town(home) as here:
            found = await bought(here, given.requests)
            watch = await watched(here, given.seconds)
    page = report(found, watch)
    await asyncio.to_thread(given.out.write_text, page)
    sys.stdout.write(json_lines(each.line() for each in (*found, *watch)))
    sys.stdout.write(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--seconds", type=float, default=300, help="with watches and nothing else")
    parser.add_argument("--out", type=Path, default=REPORT)
    uvloop.run(main(parser.parse_args()))
