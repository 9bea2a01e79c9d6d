"""Runs workflow code on the event loop of its worker instead of in a thread of its own.

An activation of a workflow takes about a millisecond, and the SDK hands each to another thread: two switches between
threads, in which one waits for Python's lock that the other holds, a dozen times for one payment. Here the event loop
itself runs it, as the SDK does in its debug mode. What replays stays in a thread: a long history takes seconds, and
the heartbeats of payments must go on beside it.

What this gives up: the SDK notices a workflow that computes for more than two seconds, and interrupts its thread. On
the event loop nobody can; `SLOW_S` has it written to the log. Workflows here compute over bounded values only.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context
from typing import Any

import structlog
from temporalio.bridge.proto.workflow_activation import WorkflowActivation

SLOW_S = 0.5
"""An activation that takes longer is a defect: everything else of the worker waits for it."""

log = structlog.get_logger("autopay.worker")


class ActivationsOnLoop(ThreadPoolExecutor):
    """An executor for a worker's `workflow_task_executor`: activations that replay nothing run on the event loop.

    Everything else is done in a thread, as a `ThreadPoolExecutor` does it.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See base class. Called by the SDK on the event loop."""
        if not (args and isinstance(args[0], WorkflowActivation)) or args[0].is_replaying:
            return super().submit(fn, *args, **kwargs)
        done: Future[Any] = Future()
        loop = asyncio.get_running_loop()
        # Not at once: no other task of this thread may be in the middle of a step when a workflow's task takes one.
        loop.call_soon(_run, loop, done, fn, args, kwargs, context=Context())
        return done


def _run(
    loop: asyncio.AbstractEventLoop,
    done: Future[Any],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    if not done.set_running_or_notify_cancel():
        return
    began = time.monotonic()
    try:
        done.set_result(fn(*args, **kwargs))
    except BaseException as error:
        done.set_exception(error)
    finally:
        asyncio._set_running_loop(loop)  # the workflow's own event loop leaves none behind
        if (took := time.monotonic() - began) > SLOW_S:
            log.warning("a workflow held up the worker", seconds=round(took, 1), run_id=args[0].run_id)
