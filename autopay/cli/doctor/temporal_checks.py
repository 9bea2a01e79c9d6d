"""Checks of Temporal: the server, our namespace there, and the workers that ask it for work."""

import os
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import wraps

from psutil import pid_exists
from temporalio.api.enums.v1 import NamespaceState
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeNamespaceResponse
from temporalio.service import RPCError, RPCStatusCode

from autopay import __version__
from autopay.cli.doctor.parts import Parts
from autopay.cli.doctor.results import Observation, failed, unknown, warning, well
from autopay.domain.errors import SettingsError
from autopay.domain.payment.adoption import ADOPT_ID
from autopay.domain.text.command_line import command_line, worker_command_line
from autopay.domain.text.times import span
from autopay.temporal.connection import (
    NOT_ALLOWED,
    AttributesMissing,
    TemporalUnreachable,
    config_of,
    connect_without_keys,
    require_attributes,
)
from autopay.temporal.pollers import Kind, Poller, pollers
from autopay.temporal.rollout import Build, builds
from workflows.policies import WAITS

SHORT_RETENTION = timedelta(days=1)
"""What is over is shown by Temporal's UI for so long; the ledger does not depend on it."""

POLL_S = 80
"""A worker asks anew at least this often: each question waits for work for 70 s at most (Temporal's SDK)."""

Look = Callable[[Parts], Awaitable[Observation]]


def _where_allowed(look: Look) -> Look:
    """A check that may not be allowed to ask: Temporal Cloud, for one, answers few questions about itself."""

    @wraps(look)
    async def checked(parts: Parts) -> Observation:
        try:
            return await look(parts)
        except RPCError as error:
            if error.status in NOT_ALLOWED:
                return unknown(f"Temporal does not answer this question here ({error.status.name})")
            return failed(f"Temporal answers: {error.message}", "see Temporal's own log")

    return checked


async def look_at_temporal(parts: Parts) -> Observation:
    """Whether it answers."""
    try:
        address = config_of(parts.settings)["target_host"]
        parts.client = await connect_without_keys(parts.settings)
    except SettingsError as error:
        if parts.settings.stack is None and "not set" in str(error):
            return unknown("TEMPORAL_ADDRESS is not set")
        return failed(str(error), "change that setting, in the environment or in .env")
    except TemporalUnreachable as fault:
        return failed(str(fault), "see that Temporal runs, and check TEMPORAL_ADDRESS")
    return well(f"it answers at {address}")


@_where_allowed
async def look_at_namespace(parts: Parts) -> Observation:
    """Whether the namespace is there."""
    name = parts.temporal.namespace
    try:
        found = await _namespace(parts)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        make = f"temporal operator namespace create --namespace {name} --retention 720h"
        return failed(f"there is none named {name}", f"check TEMPORAL_NAMESPACE, or make it: {make}")
    if found.namespace_info.state != NamespaceState.NAMESPACE_STATE_REGISTERED:
        return failed(f"{name} is being deleted, or deprecated", "name another one in TEMPORAL_NAMESPACE")
    return well(name)


@_where_allowed
async def look_at_attributes(parts: Parts) -> Observation:
    """Whether it has the search attributes that our workflows set."""
    try:
        if not await require_attributes(parts.temporal):
            return unknown("Temporal does not say which search attributes there are")
    except AttributesMissing as fault:
        lead, _, make = str(fault).partition("make them: ")
        if make:
            return failed("some are missing", make)
        remedy = "remove them (temporal operator search-attribute remove --name NAME), then make them anew"
        return failed(lead.partition(": ")[2], remedy)
    return well("all are there")


@_where_allowed
async def look_at_retention(parts: Parts) -> Observation:
    """For how long it keeps workflows that are over."""
    kept = (await _namespace(parts)).config.workflow_execution_retention_ttl.ToTimedelta()
    seen = span(kept.total_seconds())
    if kept < SHORT_RETENTION and parts.settings.stack is None:  # the embedded one keeps them for hours, on purpose
        update = f"temporal operator namespace update --namespace {parts.temporal.namespace} --retention 720h"
        return warning(f"{seen}: what went wrong yesterday cannot be looked up in Temporal today", update)
    return well(seen)


@_where_allowed
async def look_at_workers(parts: Parts) -> Observation:
    """Whether workers ask for work of both task queues."""
    queue = parts.settings.task_queue
    asked: tuple[tuple[str, Kind], ...] = ((queue, "workflow"), (queue, "activity"), (queue + WAITS, "activity"))
    working = [await _working(parts, name, kind) for name, kind in asked]
    start = f"start one: {worker_command_line()}"
    if not any(working):
        return failed(f"none works on the task queue {queue}: agents and payments stand still", start)
    if not all(working):
        idle = dict.fromkeys(name for (name, _), found in zip(asked, working, strict=True) if not found)
        return failed(f"no worker asks for work of {', '.join(idle)}", f"restart the workers; {start}")
    processes = sorted({each.process for found in working for each in found})
    return well(f"{len(processes)}: {', '.join(processes[:5])}")


@_where_allowed
async def look_at_versions(parts: Parts) -> Observation:
    """Whether the workers are of this command's version."""
    working = await _working(parts, parts.settings.task_queue, "workflow")
    others = sorted({each.version or "older ones" for each in working if each.version != __version__})
    if others:
        seen = f"this command is {__version__}, of the workers some are {', '.join(others)}"
        return warning(seen, "install one version everywhere, and restart the workers of the other")
    return well(f"this command and the workers are {__version__}")


@_where_allowed
async def look_at_builds(parts: Parts) -> Observation:
    """Whether new work goes to a build that a worker runs (AUTOPAY_BUILD_ID)."""
    running = {each.build_id for each in await _working(parts, parts.settings.task_queue, "workflow")}
    known: Sequence[Build] = await builds(parts.temporal)
    current = next((each.build_id for each in known if each.state == "current"), None)
    if current is not None and current not in running:
        start = f"start workers with AUTOPAY_BUILD_ID={current}, or roll out another: {command_line('rollout')} BUILD"
        return failed(f"new work goes to build {current}, which no worker runs", start)
    if current is None and None not in running:
        newest = sorted(filter(None, running))[-1]
        return failed(
            f"no work goes to the workers: none of their builds was rolled out ({newest})",
            command_line("rollout", newest),
        )
    draining = [each.build_id for each in known if each.state == "draining" and each.build_id not in running]
    if draining:
        start = "start workers with that AUTOPAY_BUILD_ID until it is drained"
        return warning(f"payments of build {', '.join(draining)} are under way, and no worker runs it", start)
    return well("workers are unversioned" if current is None else f"new work goes to {current}")


@_where_allowed
async def look_at_adoption(parts: Parts) -> Observation:
    """Whether the schedule is there that gives open requests whose workflow is gone a new one."""
    try:
        found = await parts.temporal.get_schedule_handle(ADOPT_ID).describe()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return warning("there is no schedule for it", f"a worker makes it when it starts: {worker_command_line()}")
    if found.schedule.state.paused:
        unpause = f"temporal schedule toggle --unpause --schedule-id {ADOPT_ID}"
        return warning("its schedule is paused", f"{unpause} --namespace {parts.temporal.namespace}")
    return well("its schedule runs")


async def _namespace(parts: Parts) -> DescribeNamespaceResponse:
    name = parts.temporal.namespace
    return await parts.temporal.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name))


async def _working(parts: Parts, queue: str, kind: Kind) -> list[Poller]:
    """Workers that may still be there: Temporal remembers them for some minutes after their end."""
    now = datetime.fromtimestamp(parts.now(), UTC)
    return [
        each
        for each in await pollers(parts.temporal, queue, kind)
        if (now - each.seen_at).total_seconds() < POLL_S and _may_run(each)
    ]


def _may_run(poller: Poller) -> bool:
    pid = poller.pid_here
    return pid is None or pid == os.getpid() or bool(pid_exists(pid))
