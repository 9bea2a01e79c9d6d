"""`python -m tests.chaos --requests 300 --kills 30`: payments on the real stack among kills and bad weather.

Ends with 0 when chain, ledger and what was asked for agree, with 1 and the list of what nobody can explain otherwise.
The home is kept then; a home that was given is always kept.
"""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.plan import Plan, make_plan
from tests.chaos.run import Conditions, Outcome, Run, as_json

TOLD_EVERY_S = 10
"""How often progress is told where no terminal reads it."""


def main() -> int:
    """The exit code."""
    options = _options()
    plan = make_plan(options.seed, options.requests, options.kills, options.workers)
    home = options.home or Path(tempfile.mkdtemp(prefix="autopay-chaos-"))
    remarks = Console(stderr=True, highlight=False)
    remarks.print(f"seed {plan.seed}, home {home}", markup=False)
    conditions = Conditions(home, options.workers, options.slot_ms, options.patience, options.liveness)
    began = time.monotonic()
    with remarks.status("") as line:
        told = began

        def tell(now: str) -> None:
            nonlocal told
            text = f"{time.monotonic() - began:.0f} s, {now}"
            line.update(text)
            if not remarks.is_terminal and time.monotonic() - told > TOLD_EVERY_S:
                told = time.monotonic()
                remarks.print(text, markup=False)

        try:
            outcome = asyncio.run(Run(plan, conditions, tell).run())
        except KeyboardInterrupt:
            remarks.print(f"interrupted; kept: {home}", markup=False)
            return 130
    show(plan, outcome)
    if outcome.wrong:
        remarks.print(f"kept for inspection: {home}", markup=False)
    elif options.home is None:
        shutil.rmtree(home, ignore_errors=True)
    if options.json:
        sys.stdout.write(json.dumps(as_json(plan, outcome)) + "\n")
    return 1 if outcome.wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--requests", type=int, default=300, help="how many different ones")
    parser.add_argument("--kills", type=int, default=30, help="how often kill -9 hits a part of the stack")
    parser.add_argument("--seed", type=int, default=None, help="of requests, kills and weather")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slot-ms", type=int, default=50)
    parser.add_argument("--patience", type=float, default=4, help="seconds between two faults at most")
    parser.add_argument("--liveness", type=float, default=300, help="seconds until all is final, after the last fault")
    parser.add_argument("--home", type=Path, help="of the stack; kept")
    parser.add_argument("--json", action="store_true", help="one line of JSON at the end")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.randrange(10**6)  # noqa: S311 (no secret)
    return options


def show(plan: Plan, outcome: Outcome) -> None:
    """The summary, for people."""
    table = Table("what", "count", "of which", box=None, header_style="bold", pad_edge=False)
    seconds = ", ".join(f"{phase} {spent:g}" for phase, spent in outcome.seconds.items())
    issued = 2 * sum(2 if purchase.twice else 1 for purchase in plan.purchases)
    asked = f"all ids once more at the end; calls that failed and were repeated: {_counted(outcome.asked_again) or 0}"
    rows = (
        ("requests", outcome.requests.total(), _counted(outcome.requests)),
        ("not delivered", outcome.reasons.total(), _counted(outcome.reasons)),
        ("asked", issued + outcome.asked_again.total(), asked),
        ("attempts", outcome.attempts.total(), _counted(outcome.attempts)),
        ("payments on chain", outcome.payments, _counted(outcome.spent_atomic) + " base units"),
        ("delivered, not paid", outcome.unpaid_deliveries, ""),
        ("undelivered, though the seller knew the payment", outcome.undelivered_though_known, ""),
        ("messages that cannot be read", outcome.unreadable.total(), _counted(outcome.unreadable)),
        ("kills", outcome.kills.total(), _counted(outcome.kills)),
        ("died by themselves", outcome.own_deaths.total(), _counted(outcome.own_deaths)),
        ("weather changes", outcome.weather.total(), _counted(outcome.weather)),
        ("weather missed", outcome.weather_missed, "the service was dead"),
        ("seconds", round(sum(outcome.seconds.values())), seconds),
        ("unexplained", len(outcome.wrong), ""),
    )
    for what, count, of_which in rows:
        table.add_row(what, str(count), of_which)
    console = Console(file=sys.stdout, highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    console.print(f"chaos run of seed {plan.seed}")
    console.print(table)
    for each in outcome.wrong:
        console.print(f"UNEXPLAINED: {each}", soft_wrap=True)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


if __name__ == "__main__":
    sys.exit(main())
