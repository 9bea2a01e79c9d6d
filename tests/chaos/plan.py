"""What a chaos run will do, from its seed alone: who buys what, which parts are killed, how the weather changes. Pure.

The seed does not determine when the operating system does what; two runs of a seed share the plan, not the result.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

AGENTS = ("amber", "basil", "cedar", "delta")
SERVICES = ("chain", "facilitator", "market", "knowledge")
TOPICS = ("liquidity", "fees", "stablecoins", "volatility", "agents")
PARTS = ("worker", "postgres", "temporal", "sellers", "chain", "facilitator")
"""What is killed; the first kills take each once, in an order of the seed's."""

CHANGES_PER_KILL = 2
TWICE_SHARE = 0.15
AT_ONCE_SHARE = 0.25


@dataclass(frozen=True)
class Purchase:
    """One request id of one agent; `twice` is issued by two tasks at the same time."""

    agent: str
    request_id: str
    api: str
    path: str
    question: str | None
    currency: str | None
    max_price_atomic: int | None
    twice: bool

    @property
    def method(self) -> str:
        """POST has a body, GET has none."""
        return "GET" if self.question is None else "POST"

    @property
    def body(self) -> bytes | None:
        """The JSON of a POST."""
        return None if self.question is None else json.dumps({"question": self.question}).encode()


@dataclass(frozen=True)
class Kill:
    """SIGKILL to a part; `at_once` does not wait for progress after the fault before."""

    part: str
    at_once: bool


@dataclass(frozen=True)
class Change:
    """The weather of one service from now on; an outage ends by itself after `outage_s`."""

    service: str
    faults: Mapping[str, Any]
    outage_s: float = 0


@dataclass(frozen=True)
class Plan:
    """All of it; `purchases` in the order in which they are issued."""

    seed: int
    purchases: Sequence[Purchase]
    faults: Sequence[Kill | Change]


def make_plan(seed: int, requests: int, kills: int, workers: int) -> Plan:
    """The plan of a seed."""
    dice = random.Random(f"autopay chaos {seed}")  # noqa: S311 (no secret)
    purchases = [_purchase(dice, number) for number in range(requests)]
    return Plan(seed, purchases, list(_faults(dice, kills, workers)))


def _purchase(dice: random.Random, number: int) -> Purchase:
    version = dice.choice(("", "/v1"))
    question = None
    match dice.choices(("feed", "insight", "question", "unknown", "free"), (30, 30, 30, 4, 6))[0]:
        case "feed":
            api, path = "market", f"{version}/api/market-feed"
        case "insight":
            api, path = "knowledge", f"{version}/api/ai-insights?topic={dice.choice(TOPICS)}"
        case "question":
            api, path = "knowledge", f"{version}/api/ai-insights"
            question = f"What of {dice.choice(TOPICS)}, asked as number {number}?"
        case "unknown":  # answered 404 after it was paid for: the seller then settles nothing
            api, path = "knowledge", f"{version}/api/ai-insights?topic=nothing"
        case _:
            api, path = dice.choice(("market", "knowledge")), "/api/status"
    return Purchase(
        agent=AGENTS[number % len(AGENTS)],
        request_id=f"buy-{number:04}",
        api=api,
        path=path,
        question=question,
        currency=dice.choice((None, "USDC", "CASH")),
        max_price_atomic=dice.choices((None, 20_000, 10), (60, 35, 5))[0],
        twice=dice.random() < TWICE_SHARE,
    )


def _faults(dice: random.Random, kills: int, workers: int) -> Iterator[Kill | Change]:
    first = dice.sample(PARTS[1:], len(PARTS) - 1)
    later = (dice.choices(PARTS, (40, 12, 12, 12, 12, 12))[0] for _ in repeat(None))
    parts = chain([PARTS[0], *first], later)
    for _ in range(kills):
        for _ in range(CHANGES_PER_KILL):
            yield _change(dice)
        part = next(parts)
        name = f"worker-{dice.randint(1, workers)}" if part == "worker" else part
        yield Kill(name, at_once=dice.random() < AT_ONCE_SHARE)


def _change(dice: random.Random) -> Change:
    service = dice.choice(SERVICES)
    outage_s, kinds = 0.0, ["latency", "errors", "lost", "mixed", "fair", "outage"]
    kinds += {"chain": ["lag", "lag"], "facilitator": []}.get(service, ["price", "price"])
    faults: dict[str, Any] = {}
    match dice.choice(kinds):
        case "latency":
            faults = {"latency_ms": dice.randint(20, 400)}
        case "errors":
            faults = {"error_rate": round(dice.uniform(0.05, 0.3), 2)}
        case "lost":
            faults = {"lose_answers": round(dice.uniform(0.05, 0.4), 2)}
        case "mixed":
            faults = {"latency_ms": dice.randint(10, 150), "error_rate": 0.1, "lose_answers": 0.1}
        case "outage":
            faults, outage_s = {"outage": True}, round(dice.uniform(1, 4), 1)
        case "lag":
            faults = {"lag_slots": dice.randint(3, 60)}
        case "price":
            faults = {"price_factor": dice.choice((0.5, 0.9, 1.1, 2.0, 5.0, 20.0))}
    return Change(service, faults, outage_s)
