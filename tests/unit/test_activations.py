"""Workflow code runs on the worker's event loop, and what replays in a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from temporalio.bridge.proto.workflow_activation import WorkflowActivation

from autopay.temporal import activations
from autopay.temporal.activations import ActivationsOnLoop

NEW, REPLAYED = WorkflowActivation(run_id="a-run"), WorkflowActivation(is_replaying=True)


@pytest.fixture
def executor() -> Iterator[ActivationsOnLoop]:
    with ActivationsOnLoop(1) as made:
        yield made


def thread_of(_: Any = None) -> int:
    return threading.get_ident()


@pytest.mark.parametrize(
    ("arguments", "on_loop"),
    [
        pytest.param((NEW,), True, id="an activation"),
        pytest.param((REPLAYED,), False, id="an activation that replays"),
        pytest.param((), False, id="the end of an instance"),
    ],
)
async def test_only_activations_that_replay_nothing_run_on_the_event_loop(
    executor: ActivationsOnLoop, arguments: tuple[Any, ...], on_loop: bool
) -> None:
    ran_in = await asyncio.get_running_loop().run_in_executor(executor, thread_of, *arguments)
    assert (ran_in == threading.get_ident()) is on_loop


async def test_it_runs_outside_of_the_task_that_waits_for_it(executor: ActivationsOnLoop) -> None:
    """A workflow's own tasks take their steps in it, which Python 3.14 allows only outside of another task's."""
    loop = asyncio.get_running_loop()
    assert await loop.run_in_executor(executor, lambda _: asyncio.current_task(loop), NEW) is None


def leave_no_loop(_: WorkflowActivation) -> str:
    asyncio._set_running_loop(None)
    return "done"


def leave_no_loop_and_fail(_: WorkflowActivation) -> str:
    asyncio._set_running_loop(None)
    raise LookupError("in the workflow")


@pytest.mark.parametrize("leave", [leave_no_loop, leave_no_loop_and_fail])
async def test_the_workers_loop_is_the_running_one_again(
    executor: ActivationsOnLoop, leave: Callable[..., str]
) -> None:
    loop = asyncio.get_running_loop()
    (result,) = await asyncio.gather(loop.run_in_executor(executor, leave, NEW), return_exceptions=True)
    assert result == "done" or isinstance(result, LookupError)
    assert asyncio.get_running_loop() is loop


async def test_one_that_takes_long_is_written_to_the_log(
    executor: ActivationsOnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations, "SLOW_S", -1)
    with capture_logs() as logged:
        await asyncio.get_running_loop().run_in_executor(executor, thread_of, NEW)
    assert [(each["log_level"], each["run_id"]) for each in logged] == [("warning", "a-run")]
