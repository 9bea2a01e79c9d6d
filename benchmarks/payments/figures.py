"""Figures: what was measured, with its unit; as JSON lines for programs and as a table for people."""

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Speed:
    """How long purchases took: milliseconds of each in the median and at 95 %, and purchases a second."""

    p50_ms: float
    p95_ms: float
    per_s: float

    @classmethod
    def of(cls, took_s: Sequence[float], all_s: float) -> "Speed":
        """From the seconds of each and of all together."""
        ordered = sorted(took_s)
        return cls(
            p50_ms=round(statistics.median(ordered) * 1000, 1),
            p95_ms=round(ordered[int(len(ordered) * 0.95)] * 1000, 1),
            per_s=round(len(ordered) / all_s, 1),
        )


@dataclass(frozen=True)
class SpeedFigure:
    """One buyer's speed: on a network of that delay, with so many purchases at once."""

    buyer: str
    delay_ms: int
    at_once: int
    speed: Speed

    def line(self) -> dict[str, Any]:
        """For programs."""
        head = {"figure": "speed", "buyer": self.buyer, "delay_ms": self.delay_ms, "at_once": self.at_once}
        return head | asdict(self.speed)


@dataclass(frozen=True)
class Count:
    """One thing that was counted, for one paid request."""

    what: str
    value: float
    situation: str = "delivered"

    def line(self) -> dict[str, Any]:
        """For programs."""
        return {"figure": "count", **asdict(self)}


def speed_table(figures: Sequence[SpeedFigure], base: str) -> list[str]:
    """Markdown: a row a buyer, a column a situation; `× base` is the share of the base buyer's figure."""
    situations = sorted({(each.delay_ms, each.at_once) for each in figures}, key=lambda it: (it[1], it[0]))
    heads = [f"{at_once} at once, {delay} ms" if at_once > 1 else f"one, {delay} ms" for delay, at_once in situations]
    by = {(each.buyer, each.delay_ms, each.at_once): each.speed for each in figures}
    rows = []
    for buyer in dict.fromkeys(each.buyer for each in figures):
        cells = [_cell(by, buyer, base, situation) for situation in situations]
        rows.append(f"| {buyer} | " + " | ".join(cells) + " |")
    return ["| buyer | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|", *rows]


def _cell(by: dict[tuple[str, int, int], Speed], buyer: str, base: str, situation: tuple[int, int]) -> str:
    """One at a time the median matters, with many at once the rate."""
    speed, other = by.get((buyer, *situation)), by.get((base, *situation))
    if speed is None:
        return "–"
    alone = situation[1] == 1
    text = f"{speed.p50_ms:g} ms" if alone else f"{speed.per_s:g} a second"
    if other is None or buyer == base:
        return text
    ratio = speed.p50_ms / other.p50_ms if alone else speed.per_s / other.per_s
    return f"{text}, {ratio:.2g}×"


def count_table(counts: Iterable[Count]) -> list[str]:
    """Markdown: a row a thing, a column a situation."""
    found = list(counts)
    situations = list(dict.fromkeys(each.situation for each in found))
    by = {(each.what, each.situation): each.value for each in found}
    rows = []
    for what in dict.fromkeys(each.what for each in found):
        cells = (f"{by[what, one]:g}" if (what, one) in by else "–" for one in situations)
        rows.append(f"| {what} | " + " | ".join(cells) + " |")
    return ["| for one paid request | " + " | ".join(situations) + " |", "|---" * (len(situations) + 1) + "|", *rows]


def json_lines(lines: Iterable[dict[str, Any]]) -> str:
    """A JSON object a line."""
    return "".join(json.dumps(line) + "\n" for line in lines)
