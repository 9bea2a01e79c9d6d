"""What a command that serves tells of itself: log lines, and its Prometheus endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.cli.terminal.console import note

if TYPE_CHECKING:
    from autopay.settings import Settings
    from autopay.temporal.telemetry import Process


def set_up_telemetry(settings: Settings, process: Process) -> None:
    """Write log lines as the settings say; open the endpoint that AUTOPAY_METRICS names, if any, and say where it is.

    Raises:
        SettingsError: it cannot listen there.
    """
    from autopay.logs import set_up_logging
    from autopay.settings.known_secrets import known_secrets

    set_up_logging(settings.log_format, settings.log_level, known_secrets(settings))
    if not settings.metrics:
        return
    from autopay.temporal.telemetry import open_telemetry

    note(f"metrics: {open_telemetry(settings, process)}")
