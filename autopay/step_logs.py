"""One log line for each step of a payment that a worker did, with its ids and how long it took.

What was done is told at `info`, a fault after which Temporal tries again at `warning`, a bug at `error` with its
exception. What an agent does for itself every few seconds is told at `debug`.
"""

import time
from asyncio import CancelledError
from collections.abc import Mapping

import structlog
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from autopay.domain.errors import Fault

OF_PAYMENTS = "pay/"
"""How ids of workflows that pay begin; agent and request follow."""

OF_AGENTS = "agent/"
"""How ids of agents' workflows begin; the agent's name follows."""

log = structlog.get_logger("autopay.steps")


class StepLogs(Interceptor):
    """Tells of each activity when it has ended."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 (the SDK's name)
        """See base class."""
        return _LoggedStep(next)


class _LoggedStep(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> object:  # noqa: A002 (the SDK's name)
        began, info = time.monotonic(), activity.info()
        workflow_id = info.workflow_id or ""
        fields = {"step": info.activity_type, "workflow_id": workflow_id, "run_id": info.workflow_run_id}
        told = log.bind(**fields, **ids_of(workflow_id), attempt=info.attempt)
        try:
            done = await self.next.execute_activity(input)
        except CancelledError:
            told.info("step canceled", ms=_ms_since(began))
            raise
        except (Fault, ApplicationError) as fault:
            told.warning("step failed", ms=_ms_since(began), fault=f"{type(fault).__name__}: {fault}")
            raise
        except Exception:
            told.exception("step failed by a bug", ms=_ms_since(began))
            raise
        tell = told.info if workflow_id.startswith(OF_PAYMENTS) else told.debug
        tell("step done", ms=_ms_since(began))
        return done


def ids_of(workflow_id: str) -> Mapping[str, str]:
    """The agent and the request that a workflow's id names: `pay/{agent}/{request_id}` or `agent/{agent}`."""
    if workflow_id.startswith(OF_PAYMENTS):
        agent, _, request_id = workflow_id.removeprefix(OF_PAYMENTS).partition("/")
        return {"agent": agent, "request_id": request_id}
    return {"agent": workflow_id.removeprefix(OF_AGENTS)} if workflow_id.startswith(OF_AGENTS) else {}


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
