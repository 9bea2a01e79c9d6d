"""How payments a second grow with workers and agents, and what stops them: `make bench-scale`.

Always the same number of purchases at once on a network without delay, first with one agent on 1, 2 and 4 workers,
then with one worker and 10 and 200 agents. What each part took of the machine's cores in that time tells whose ceiling
it is. Prints a table and a line of JSON a figure; writes `benchmarks/payments_scale.md`.
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

from benchmarks.machine import cost_of, machine
from benchmarks.payments.figures import json_lines
from benchmarks.payments.ours import agent_buyer
from benchmarks.payments.town import AGENT, Town, launch, tell, town

REPORT = Path(__file__).parents[1] / "payments_scale.md"
AT_ONCE = 32
PURCHASES = 320
WORKERS = (1, 2, 4)
AGENTS = (10, 200)
PARTS = ("temporal", "postgres", "chain")


@dataclass(frozen=True)
class ScaleFigure:
    """Payments a second with so many workers and agents, and the cores that each part was busy on in the mean."""

    workers: int
    agents: int
    per_s: float
    p50_ms: float
    cores: dict[str, float]

    @property
    def busiest(self) -> str:
        """The part that took the largest share of the machine."""
        return max(self.cores, key=self.cores.__getitem__)

    def line(self) -> dict[str, Any]:
        """For programs."""
        return {"figure": "scale", **asdict(self), "busiest": self.busiest}


async def measure(here: Town, workers: Sequence[str], agents: Sequence[str], purchases: int) -> ScaleFigure:
    """Buy through the agents in turn, with the workers that run now."""
    tell(f"{len(workers)} workers, {len(agents)} agents ...")
    url = f"{here.sellers[0]}/data"
    async with agent_buyer(here, agents) as buyer:
        await buyer.buy_all(url, AT_ONCE, AT_ONCE)  # what is made once is made before the clock runs
        before, began = _cpu(here, workers), time.perf_counter()
        speed = await buyer.buy_all(url, AT_ONCE, purchases)
        took = time.perf_counter() - began
        after = _cpu(here, workers)
    cores = {part: round((after[part] - before[part]) / took, 2) for part in after}
    return ScaleFigure(len(workers), len(agents), speed.per_s, speed.p50_ms, cores)


def _cpu(here: Town, workers: Sequence[str]) -> dict[str, float]:
    """CPU seconds of each part so far; the benchmark's own process is the callers."""
    parts = {part: cost_of(here.stack.pid(part)).cpu_s for part in PARTS}
    own = time.process_time()
    return {"workers": sum(cost_of(here.stack.pid(name)).cpu_s for name in workers), **parts, "callers": own}


async def figures(here: Town, purchases: int, agents: Sequence[int]) -> list[ScaleFigure]:
    """Every situation, one after the other."""
    workers = ["worker-1"]
    names = [f"bench-{number:03}" for number in range(max(agents))]
    tell(f"launching {len(names)} agents ...")
    await launch(here, *names)
    found = [await measure(here, workers, names[:count], purchases) for count in agents]
    for count in WORKERS:
        workers += await here.stack.start_workers(count - len(workers))
        found.append(await measure(here, workers, [AGENT], purchases))
    return found


def report(found: Sequence[ScaleFigure]) -> str:
    """The page, in Markdown."""
    parts = list(found[0].cores)
    rows = [
        f"| {each.workers} | {each.agents} | {each.per_s:g} | {each.p50_ms:g} | "
        + " | ".join(f"{each.cores[part]:g}" for part in parts)
        + " |"
        for each in sorted(found, key=lambda it: (it.workers, it.agents))
    ]
    return "\n".join(
        [
            "# How payments a second grow with workers and agents",
            "",
            f"Written by `make bench-scale` on {datetime.now(UTC):%F}; run it to repeat this. Machine: {machine()}.",
            "",
            f"{AT_ONCE} purchases at once on a network without delay. The last columns are the cores that each part "
            f"was busy on in the mean, of {os.cpu_count()}; sellers take the rest. Where their sum nears the number of "
            "cores, the machine is the ceiling, and more workers share it.",
            "",
            "| workers | agents | payments a second | ms, median | " + " | ".join(parts) + " |",
            "|--:" * (4 + len(parts)) + "|",
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
            found = await figures(here, given.purchases, given.agents)
    page = report(found)
    await asyncio.to_thread(given.out.write_text, page)
    sys.stdout.write(json_lines(each.line() for each in found))
    sys.stdout.write(page)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--purchases", type=int, default=PURCHASES, help="of each figure")
    parser.add_argument("--agents", type=int, nargs="+", default=list(AGENTS), help="numbers of agents to measure")
    parser.add_argument("--out", type=Path, default=REPORT)
    uvloop.run(main(parser.parse_args()))
