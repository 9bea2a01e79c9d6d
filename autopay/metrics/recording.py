"""Records values: counters and histograms at the steps, gauges by who reads them. Nothing is until it is switched on.

Nothing that is measured may fail, or wait, because it is: a meter that raises is logged, once for each metric.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Protocol

from autopay.metrics.table import ALL, INFO, Metric


class Meter(Protocol):
    """What of `temporalio.common.MetricMeter` is used; all of its methods return at once."""

    def create_counter(self, name: str, description: str | None = None, unit: str | None = None) -> Any: ...
    def create_histogram_float(self, name: str, description: str | None = None, unit: str | None = None) -> Any: ...
    def create_gauge_float(self, name: str, description: str | None = None, unit: str | None = None) -> Any: ...


class Recorder:
    """Writes to a meter; a counter and a histogram take positive numbers only, and gauges none below 0."""

    def __init__(self, meter: Meter) -> None:
        make = {
            "counter": meter.create_counter,
            "histogram": meter.create_histogram_float,
            "gauge": meter.create_gauge_float,
        }
        self._instruments = {each.name: make[each.kind](each.name, each.help) for each in ALL}
        self._failed: set[str] = set()
        self._lock = threading.Lock()

    def record(self, metric: Metric, value: float, labels: Mapping[str, str]) -> None:
        """Add to a counter, put into a histogram, or set a gauge. Raises nothing."""
        try:
            assert labels.keys() == set(metric.labels), f"{metric.name} has the labels {metric.labels}"
            instrument = self._instruments[metric.name]
            match metric.kind:
                case "counter":
                    instrument.add(int(value), labels)
                case "histogram":
                    instrument.record(value, labels)
                case "gauge":
                    instrument.set(value, labels)
        except Exception:  # whatever is measured goes on
            self._tell_once(metric)

    def _tell_once(self, metric: Metric) -> None:
        with self._lock:
            if metric.name in self._failed:
                return
            self._failed.add(metric.name)
        import structlog  # noqa: PLC0415 (slow to load, and commands time their statements, too)

        structlog.get_logger("autopay.metrics").exception("a metric is not recorded", metric=metric.name)


_recorders: list[Recorder] = []


def switch_on(meter: Meter, process: str, version: str, network: str) -> None:
    """Record into this meter from now on, in place of any before."""
    _recorders[:] = [Recorder(meter)]
    set_gauge(INFO, 1, process=process, version=version, network=network)


def switch_off() -> None:
    """Record nothing from now on."""
    _recorders.clear()


def is_on() -> bool:
    """Whether anything is recorded."""
    return bool(_recorders)


def count(metric: Metric, amount: int = 1, /, **labels: str) -> None:
    """Add to a counter."""
    for recorder in _recorders:
        recorder.record(metric, amount, labels)


def observe(metric: Metric, seconds: float, /, **labels: str) -> None:
    """Put a duration into a histogram."""
    for recorder in _recorders:
        recorder.record(metric, seconds, labels)


def set_gauge(metric: Metric, value: float, /, **labels: str) -> None:
    """Set a gauge; `nan` for "no value"."""
    for recorder in _recorders:
        recorder.record(metric, value, labels)


@contextmanager
def timed(metric: Metric, /, **labels: str) -> Iterator[None]:
    """Put the time that the block takes into a histogram, also when it raises."""
    if not _recorders:
        yield
        return
    began = perf_counter()
    try:
        yield
    finally:
        observe(metric, perf_counter() - began, **labels)


def names_of(metrics: Iterable[Metric]) -> set[str]:
    """The names that Prometheus has of them."""
    return {name for each in metrics for name in each.series}
