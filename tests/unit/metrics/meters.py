"""Meters of tests: one that keeps values, and one that fails."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import pytest

from autopay.metrics import labels, recording
from autopay.metrics.table import Metric

M = TypeVar("M", bound=recording.Meter)


class KeptMeter:
    """Keeps what counters add up to, and what gauges and histograms got last; by the labels' values."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {}

    def create_counter(self, name: str, description: str | None = None, unit: str | None = None) -> "_Kept":
        return _Kept(self._values.setdefault(name, {}))

    create_histogram_float = create_gauge_float = create_counter

    def values_of(self, metric: Metric) -> Mapping[tuple[str, ...], float]:
        """By the values of its labels, in the table's order."""
        return self._values[metric.name]

    def has(self, metric: Metric) -> bool:
        """Whether it has a value."""
        return bool(self._values[metric.name])


class _Kept:
    def __init__(self, values: dict[tuple[str, ...], float]) -> None:
        self._values = values

    def add(self, value: float, labels: Mapping[str, str]) -> None:
        self.record(self._values.get(_key(labels), 0) + value, labels)

    def record(self, value: float, labels: Mapping[str, str]) -> None:
        self._values[_key(labels)] = value

    set = record


def _key(labels: Mapping[str, str]) -> tuple[str, ...]:
    order = ("agent", "seller", "outcome", "currency", "reason", "duty", "dependency", "state")
    return tuple(labels[name] for name in sorted(labels, key=lambda name: order.index(name) if name in order else 99))


class BrokenMeter:
    """Its instruments raise."""

    def create_counter(self, name: str, description: str | None = None, unit: str | None = None) -> "_Broken":
        return _Broken()

    create_histogram_float = create_gauge_float = create_counter


class _Broken:
    def add(self, value: float, labels: Mapping[str, str]) -> None:
        raise RuntimeError("the meter is broken")

    record = add
    set = add


@contextmanager
def recorded_by(meter: M) -> Iterator[M]:
    """Record into it for the length of the block, in which every name gets a label that no test before has taken."""
    with fresh_labels():
        recording.switch_on(meter, "worker", "0", "DEVNET")
        try:
            yield meter
        finally:
            recording.switch_off()


@contextmanager
def fresh_labels() -> Iterator[None]:
    """No agent and no seller has a label yet."""
    with pytest.MonkeyPatch.context() as patch:
        for names in (labels.AGENTS, labels.SELLERS):
            patch.setattr(names, "_known", set())
        yield
