"""Gauges that are read, by one task beside the work: from the ledger, from the chain, from the folder of backups.

Each source has its interval, and is read by itself: one that does not answer holds up no other. What it showed last
stays, and `autopay_read_timestamp_seconds` tells how old that is.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from autopay.metrics import labels
from autopay.metrics.recording import set_gauge
from autopay.metrics.table import READ_AT, Metric

log = structlog.get_logger("autopay.metrics")

_FOLDS: Mapping[str, Callable[[float, float], float]] = {"sum": lambda one, other: one + other, "max": max, "min": min}


@dataclass(frozen=True)
class Reading:
    """One value of a gauge. `labels` has an agent by its own name: which names get a label is decided here."""

    metric: Metric
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """What is read every so many seconds; `name` is what the log and `autopay_read_timestamp_seconds` call it."""

    name: str
    every_s: float
    read: Callable[[], Awaitable[Sequence[Reading]]]


Series = tuple[Metric, tuple[tuple[str, str], ...]]


class Shown:
    """What a source has shown: no series can be taken back. One that is not read any more gets 0 where that says that
    there is nothing, else no value (NaN), with which no comparison is true."""

    def __init__(self) -> None:
        self._shown: set[Series] = set()

    def show(self, readings: Iterable[Reading]) -> None:
        """Set the gauges to what was read."""
        values: dict[Series, float] = {}
        for reading in readings:
            series = (reading.metric, tuple(sorted(_bounded(reading.labels).items())))
            before = values.get(series)
            fold = _FOLDS[reading.metric.fold]
            values[series] = reading.value if before is None else fold(before, reading.value)
        for metric, of in self._shown - values.keys():
            set_gauge(metric, 0 if of and metric.fold != "min" else math.nan, **dict(of))
        for (metric, of), value in values.items():
            set_gauge(metric, value, **dict(of))
        self._shown = set(values)


def _bounded(given: Mapping[str, str]) -> Mapping[str, str]:
    return {**given, "agent": labels.AGENTS.of(given["agent"])} if "agent" in given else given


async def keep_reading(sources: Sequence[Source]) -> None:
    """Read the sources again and again, until it is cancelled."""
    await asyncio.gather(*(_keep_reading(source) for source in sources))


async def _keep_reading(source: Source) -> None:
    shown, failing = Shown(), False
    while True:
        try:
            shown.show(await source.read())
            set_gauge(READ_AT, time.time(), source=source.name)
            failing = False
        except Exception as error:  # also a bug: the worker pays, whatever its gauges do
            if not failing:
                log.warning("gauges are not read", source=source.name, error=str(error), kind=type(error).__name__)
            failing = True
        await asyncio.sleep(source.every_s)
