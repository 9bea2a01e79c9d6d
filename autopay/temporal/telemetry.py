"""What a process tells of itself: its Prometheus endpoint (AUTOPAY_METRICS), the SDK's own with the SDK's metrics and
ours, and the log lines of the SDK's core, which go the way of ours.

A process calls this before it connects to Temporal: its runtime becomes the default one, which every client takes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from autopay import __version__
from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.reports.gauges import Gauges
from autopay.domain.errors import SettingsError
from autopay.listening import listen, why_not
from autopay.metrics import recording
from autopay.metrics.gauges import keep_reading
from autopay.metrics.sources import Accounts, all_sources
from autopay.metrics.table import ALL, BUCKETS
from autopay.settings import Settings

Process = Literal["worker", "api", "gateway"]

CORE_LOGS = LoggingConfig(
    filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
    forwarding=LogForwardingConfig(
        logger=logging.getLogger("temporalio.core"),
        append_target_to_name=False,
        prepend_target_on_message=False,
        append_log_fields_to_message=False,
    ),
)
"""What the SDK's core says, as lines of the standard library's logger; its fields are in `temporal_log`."""


def open_telemetry(settings: Settings, process: Process) -> str | None:
    """Take over the core's log lines; open the endpoint that the settings name, and record from now on. Its URL, or
    None when none is named.

    Raises:
        SettingsError: it cannot listen there.
    """
    if not settings.metrics:
        Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=CORE_LOGS)), error_if_already_set=False)
        return None
    address = _free_address(settings.metrics)
    try:
        runtime = runtime_at(address)
    except ValueError as error:
        raise _cannot_listen(settings.metrics, str(error)) from None
    Runtime.set_default(runtime, error_if_already_set=False)
    recording.switch_on(runtime.metric_meter, process, __version__, settings.network.value)
    return f"http://{address}/metrics"


def runtime_at(address: str) -> Runtime:
    """A runtime whose metrics are shown at that address, `host:port`.

    Raises:
        ValueError: it cannot listen there.
    """
    shown = PrometheusConfig(
        bind_address=address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides={each.name: BUCKETS for each in ALL if each.kind == "histogram"},
    )
    return Runtime(telemetry=TelemetryConfig(logging=CORE_LOGS, metrics=shown, attach_service_name=False))


@asynccontextmanager
async def reading_gauges(settings: Settings, chain: Accounts) -> AsyncIterator[None]:
    """Reads gauges beside the work, where metrics are shown; from the ledger by a connection of its own, so that no
    payment waits for it."""
    if not recording.is_on():
        yield
        return
    ledger = open_ledger(settings.read_database_url or settings.database_url, reads_only=True)
    backups = Path(settings.backups) if settings.backups else settings.home / "backups"
    reading = asyncio.create_task(keep_reading(all_sources(Gauges(ledger.database, settings.network), chain, backups)))
    try:
        yield
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        await ledger.dispose()


def _free_address(wanted: str) -> str:
    """The address, with a free port in place of 0: the SDK does not tell which one it took."""
    host, _, port = wanted.rpartition(":")
    try:
        with listen(host.strip("[]"), int(port)) as listening:
            found: int = listening.getsockname()[1]
    except OSError as error:
        raise _cannot_listen(wanted, why_not(error)) from None
    return f"{host}:{found}"


def _cannot_listen(address: str, why: str) -> SettingsError:
    return SettingsError(
        f"AUTOPAY_METRICS={address}: {why}; every process needs an address of its own, port 0 is any free one"
    )
