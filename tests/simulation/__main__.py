"""`python -m tests.simulation --seeds 1000`: many seeds, one after another; the first violation ends it."""

import argparse
import sys
import time
from collections import Counter

from tests.simulation.scenario import Report, simulate

PROGRESS_S = 5


def main() -> int:
    """0 when every seed is clean, 1 at a violation; its seed is printed, and reproduces it."""
    options = _options()
    if options.story:
        report = simulate(options.start, options.payments_per_seed, keep_story=True)
        _say("\n".join([*report.story, *report.violations]))
        return 1 if report.violations else 0
    total, broken, began, told = Report(options.start), 0, time.monotonic(), time.monotonic()
    for seed in range(options.start, options.start + options.seeds):
        report = simulate(seed, options.payments_per_seed)
        _add(total, report)
        if report.violations:
            broken += 1
            _say(f"seed {seed}: " + "\n    ".join(report.violations))
            if not options.keep_going:
                break
        if time.monotonic() - told > PROGRESS_S:
            told = time.monotonic()
            _say(f"seed {seed}: {total.payments} payments, {total.payments / (told - began):.0f} a second")
    _summarize(total, seed - options.start + 1, broken, time.monotonic() - began)
    return 1 if broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--payments-per-seed", type=int, default=6)
    parser.add_argument("--keep-going", action="store_true", help="count violations instead of stopping at the first")
    parser.add_argument("--story", action="store_true", help="tell all that happened in the first seed")
    return parser.parse_args()


def _add(total: Report, report: Report) -> None:
    total.payments += report.payments
    total.attempts += report.attempts
    total.statuses += report.statuses
    total.outcomes += report.outcomes
    total.faults += report.faults
    total.virtual_s += report.virtual_s


def _summarize(total: Report, runs: int, broken: int, seconds: float) -> None:
    rate = total.payments / max(seconds, 1e-9)
    _say(f"runs {runs}, with violations {broken}, {total.virtual_s / 3600:.0f} virtual hours in {seconds:.0f} s")
    _say(f"payments {total.payments} ({rate:.0f} a second), attempts {total.attempts}")
    _say(f"attempts by status: {_counted(total.statuses)}")
    _say(f"requests by end:    {_counted(total.outcomes)}")
    _say("faults: " + _counted(total.faults).replace(", ", "\n        "))


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counter.items()))


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
