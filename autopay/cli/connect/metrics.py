"""The Prometheus endpoint of a command that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.cli.terminal.console import note

if TYPE_CHECKING:
    from autopay.settings import Settings
    from autopay.temporal.telemetry import Process


def show_metrics(settings: Settings, process: Process) -> None:
    """Open the endpoint that AUTOPAY_METRICS names, if it names one, and say where it is.

    Raises:
        SettingsError: it cannot listen there.
    """
    if not settings.metrics:
        return
    from autopay.temporal.telemetry import open_metrics

    note(f"metrics: {open_metrics(settings, process)}")
