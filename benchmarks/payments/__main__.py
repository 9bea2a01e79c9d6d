"""What a paid request costs, beside other buyers and beside the least that it can cost: `make bench`.

Everything in one run on one machine, so that its ratios mean something. Prints a table, and writes it to
`benchmarks/payments.md` and each figure as a line of JSON to `benchmarks/payments.jsonl`.

Nothing can hold it up: a figure that takes longer than `FIGURE_S`, or that would come after `ALL_S`, is left out. The
page has what was measured and names what was not, and the exit code is 1.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.machine import machine
from benchmarks.payments.bare import BareBuyer, bare_buyer
from benchmarks.payments.commands import command_figures
from benchmarks.payments.counts import count_all
from benchmarks.payments.figures import Count, Speed, SpeedFigure, count_table, json_lines, speed_table
from benchmarks.payments.limits import Limits
from benchmarks.payments.ours import AgentBuyer, agent_buyer
from benchmarks.payments.rivals import NAMES, PACKAGES, environment, measure
from benchmarks.payments.town import DELAYS_MS, Town, tell, town

REPORT = Path(__file__).parents[1] / "payments.md"
ENVIRONMENTS = Path(__file__).parents[2] / ".autopay" / "bench"
AT_ONCE = (1, 8, 32)
OFFICIAL = NAMES["x402"]
OURS = "autopay, through one agent"

ALL_S = 12 * 60
"""When the run ends at the latest, but for what it takes to stop."""

FIGURE_S = 90
COUNTS_S = 240

Buyer = Callable[[int, int, int], Coroutine[Any, Any, Speed]]
"""Given a delay in ms, how many at once, and how many in all."""


def how_many(at_once: int, scale: float) -> int:
    """Purchases of one figure: fewer one at a time, which takes long on a slow network."""
    return max(at_once, round({1: 60, 8: 160, 32: 320}[at_once] * scale))


async def speeds(here: Town, scale: float, limits: Limits, pythons: dict[str, Path]) -> list[SpeedFigure]:
    """Each buyer in each situation; the buyers of one situation right after each other."""
    figures = []
    async with agent_buyer(here) as agent, bare_buyer(here) as bare:
        buyers = _buyers(here, agent, bare, pythons)
        for delay in DELAYS_MS:
            await here.set_delay(delay)
            # Whoever comes first pays for what is made once.
            await limits.run(f"{delay} ms: {OURS}, the first purchases", buyers[OURS](delay, 1, 3), FIGURE_S)
            for at_once in AT_ONCE:
                for name, buy in buyers.items():
                    what, count = f"{delay} ms, {at_once} at once: {name}", how_many(at_once, scale)
                    speed = await limits.run(what, buy(delay, at_once, count), FIGURE_S)
                    if speed is not None:
                        figures.append(SpeedFigure(name, delay, at_once, speed))
                        tell(f"{what}: {speed.p50_ms:g} ms, {speed.per_s:g} a second")
        await here.set_delay(0)
    return figures


def _buyers(here: Town, agent: AgentBuyer, bare: BareBuyer, pythons: dict[str, Path]) -> dict[str, Buyer]:
    def rival(client: str) -> Buyer:
        return lambda delay, at_once, count: measure(here, pythons[client], client, delay, at_once, count)

    return {
        OURS: lambda delay, at_once, count: agent.buy_all(f"{here.sellers[delay]}/data", at_once, count),
        **{NAMES[client]: rival(client) for client in pythons},
        "bare workflow, six local steps": bare.pay_all,
        "bare workflow, submit scheduled": bare.pay_all_scheduled,
        "empty workflow": lambda _, at_once, count: bare.empty_all(at_once, count),
    }


def report(figures: Sequence[SpeedFigure], counts: Sequence[Count], missing: Sequence[str]) -> str:
    """The page, in Markdown."""
    left_out = [f"Not measured: {'; '.join(missing)}.", ""] if missing else []
    lines = [
        "# What a paid request costs",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%F}; run it to repeat this. Machine: {machine()}, one worker.",
        "",
        "The same chain and sellers for all, on one machine that also runs Temporal, PostgreSQL, the chain and the "
        f"sellers. The delay is that of each answer of the node and of the seller. `×` is a share of the {OFFICIAL}'s "
        "figure: of its median one at a time (less is better), of its rate with many at once (more is better).",
        "",
        *left_out,
        *speed_table(figures, OFFICIAL),
        "",
        *count_table(counts),
        "",
    ]
    return "\n".join(lines)


async def main(given: argparse.Namespace) -> int:
    """Measure, print and write; 1 when something was not measured."""
    pythons = {client: await environment(client, ENVIRONMENTS) for client in PACKAGES}
    limits = Limits(ALL_S)
    with tempfile.TemporaryDirectory(prefix="autopay-bench-") as directory:
        home = Path(directory) / "home"
        os.environ["AUTOPAY_HOME"] = str(home)
        async with town(home) as here:
            figures = await speeds(here, given.scale, limits, pythons)
            async with agent_buyer(here) as buyer:
                commands = await limits.run("commands", command_figures(here, buyer), FIGURE_S)
            counts: list[Count] = []
            await limits.run("counts of all situations", count_all(here, given.scale, counts), COUNTS_S)
            counts += commands or []
    page = report(figures, counts, limits.missing)
    await asyncio.to_thread(given.out.write_text, page)
    lines = json_lines([*(each.line() for each in figures), *(each.line() for each in counts)])
    await asyncio.to_thread(given.out.with_suffix(".jsonl").write_text, lines)
    sys.stdout.write(page)
    return 1 if limits.missing else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of purchases: 0.1 for a quick look")
    parser.add_argument("--out", type=Path, default=REPORT)
    sys.exit(uvloop.run(main(parser.parse_args())))
