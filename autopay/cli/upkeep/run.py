"""The process of `upkeep`: its connections, its schedules and its worker."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.upkeep import UpkeepStep
from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.maintenance.roles import may_alter_history
from autopay.cli.upkeep.duties import duties, wanted_duties
from autopay.domain.errors import SettingsError
from autopay.domain.text.command_line import command_line
from autopay.health.alive import report_alive
from autopay.logs import set_up_logging
from autopay.settings import Settings
from autopay.settings.known_secrets import known_secrets
from autopay.temporal.connection import TemporalUnreachable, connect
from autopay.temporal.schedules import schedule_upkeep
from worker import SHUTDOWN_TIMEOUT, wait_until_ready
from workflows.policies import UPKEEP, UPKEEP_TRIES
from workflows.upkeep import Upkeep

log = structlog.get_logger("autopay.upkeep")


def start(settings: Settings, alive: Path | None = None) -> None:
    """Work in this process until SIGTERM or SIGINT; see `run`."""
    set_up_logging(settings.log_format, settings.log_level, known_secrets(settings))
    asyncio.run(run(settings, alive))


async def run(settings: Settings, alive: Path | None = None) -> None:
    """Set the schedules, and do what they start until SIGTERM or SIGINT.

    Raises:
        SettingsError: a duty lacks a setting, or this is another keyring than the ledger's.
        TransientFault: the ledger or Temporal does not answer.
    """
    every = wanted_duties(settings)
    async with AsyncExitStack() as stack:
        ledger = open_ledger(settings.database_url)
        stack.push_async_callback(ledger.dispose)
        await wait_until_ready(ledger.maintenance.check_schema)
        if await may_alter_history(ledger.database.engine):
            see = command_line("db", "roles")
            log.warning(f"this database role may alter history: give the upkeep autopay_upkeep, see: {see}")
        client = await connect(settings, ledger.keys.knows, ledger.keys)
        step = UpkeepStep(duties(settings), ledger.operator_actions, UPKEEP_TRIES)
        stopped = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
        async with make_upkeep_worker(client, settings.task_queue, step) as worker:
            try:
                await schedule_upkeep(client, worker.task_queue, every, keep_content_s=settings.keep_content)
            except RPCError as error:
                raise TemporalUnreachable(f"the schedules cannot be set: {error.message}") from None
            if alive is not None:
                _touch(alive)
                reporting = asyncio.create_task(report_alive(client, alive))
                stack.callback(reporting.cancel)
            shown = {str(duty): str(timedelta(seconds=seconds)) for duty, seconds in every.items()}
            log.info("upkeep ready", every=shown or "nothing is set", pid=os.getpid())
            await stopped.wait()
            log.info("upkeep is stopping", seconds=SHUTDOWN_TIMEOUT.total_seconds())
        log.info("upkeep stopped")


def _touch(alive: Path) -> None:
    try:
        alive.touch()
    except OSError as error:
        raise SettingsError(f"--alive: {alive} cannot be written: {error.strerror}") from None


def make_upkeep_worker(client: Client, task_queue: str, step: UpkeepStep) -> Worker:
    """A worker of the upkeep's own task queue; it does one duty after the other."""
    return Worker(
        client,
        task_queue=task_queue + UPKEEP,
        workflows=[Upkeep],
        activities=[step.upkeep],
        workflow_runner=UnsandboxedWorkflowRunner(),
        graceful_shutdown_timeout=SHUTDOWN_TIMEOUT,
        max_concurrent_activities=1,
    )
