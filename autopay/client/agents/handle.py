"""A handle of an agent's workflow: signals, updates, and the queries for its status and queue.

Whatever Temporal or the agent answers instead becomes an `AutopayError` in plain words.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.common import QueryRejectCondition
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from autopay.client.errors import (
    AgentEndedBadly,
    AgentNotAnswering,
    AgentNotRunning,
    AgentRefused,
    AutopayError,
    CallFailed,
    InvalidCall,
    Unreachable,
    start_worker,
    temporal_error,
)
from autopay.domain.agent.status import Accepted, AgentStatus
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import RequestError, RequestSpec, agent_workflow_id
from autopay.domain.text.command_line import command_line

T = TypeVar("T")

ANSWER_TIMEOUT_S = 15
BUSY_PAUSE_S = (0.1, 0.5)
BUSY = (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.UNKNOWN)
"""Too many updates at once, or a server in the middle of its start: the same request again finds what was begun."""

FAILED_TRIES = 2
"""So many failures of a workflow's task in a row, and the agent is taken for one that no longer answers."""

NOT_NOW = frozenset({"ledger_unavailable", "step_timed_out"})
"""Types of updates that failed for want of the ledger: the same again may work."""

DECISIONS = frozenset({*RefusalReason, "unknown_watch", "too_many_watches", "unknown_currency", "demo_on_mainnet"})
"""Types of updates that the agent rejects for what they ask."""


class AgentHandle:
    """One agent's workflow."""

    def __init__(self, client: Client, name: str, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self.name = name

    @property
    def _handle(self) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(agent_workflow_id(self.name))

    async def is_running(self) -> bool:
        """Whether the agent's workflow is open."""
        try:
            described = await self._handle.describe()
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise temporal_error(error) from None
        return described.status is WorkflowExecutionStatus.RUNNING

    async def signal(self, name: str, *arguments: Any) -> None:
        """Send a signal.

        Raises:
            AgentNotRunning: its workflow has ended, or was never started.
        """
        try:
            await self._handle.signal(name, args=list(arguments))
        except RPCError as error:
            raise self._named(error) from None

    async def status(self, timeout_s: float | None = None) -> AgentStatus:
        """Its status; of one that has stopped, too, as long as Temporal keeps its history.

        Raises:
            AgentNotAnswering: no worker answers for it.
            AgentEndedBadly: it was terminated or has failed, and its last status would not be true any more.
        """
        return await self._query("status", AgentStatus, timeout_s)

    async def queue(self) -> list[QueuedRequest]:
        """The requests in its queue, next first."""
        return await self._query("queue", list[QueuedRequest])

    async def _query(self, name: str, kind: type[T], timeout_s: float | None = None) -> T:
        clean = QueryRejectCondition.NOT_COMPLETED_CLEANLY
        try:
            async with asyncio.timeout(timeout_s or ANSWER_TIMEOUT_S):
                found: T = await self._handle.query(name, result_type=kind, reject_condition=clean)
                return found
        except WorkflowQueryRejectedError as rejected:
            raise AgentEndedBadly(self.name, rejected.status) from None
        except (TimeoutError, WorkflowQueryFailedError):
            raise await self._silent() from None
        except ValidationError:
            message = f"agent {self.name!r} runs another version than this command: use the version of its workers"
            raise CallFailed(message) from None
        except RPCError as error:
            if error.status in (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.DEADLINE_EXCEEDED):
                raise await self._silent() from None
            raise self._named(error) from None

    async def update(self, name: str, argument: Any) -> Any:
        """Change something of the agent; returns what it answers.

        Raises:
            AutopayError: it rejects the change, or cannot make it now.
            AgentNotRunning: its workflow has ended, or was never started.
        """
        async with self._guarded(ANSWER_TIMEOUT_S):
            try:
                return await self._send_update(name, argument)
            except WorkflowUpdateFailedError as error:
                raise self._rejection(error) from None

    async def request(self, spec: RequestSpec, timeout_s: float) -> Accepted:
        """Ask for paid data.

        Raises:
            AgentRefused: with the name of the reason.
            AgentNotRunning: its workflow has ended, or was never started.
        """
        async with self._guarded(timeout_s):
            try:
                accepted: Accepted = await self._send_update("request", spec, Accepted)
            except WorkflowUpdateFailedError as error:
                cause: BaseException = error.cause
                if isinstance(cause, ApplicationError) and cause.type in set(RefusalReason):
                    raise AgentRefused(RequestError(type=cause.type, message=cause.message)) from None
                raise self._rejection(error) from None
            return accepted

    @asynccontextmanager
    async def _guarded(self, timeout_s: float) -> AsyncIterator[None]:
        """Limits what is done inside to that time, and turns errors of Temporal into an `AutopayError`."""
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            raise await self._silent() from None
        except RPCError as error:
            if error.status is RPCStatusCode.FAILED_PRECONDITION:  # its workflow task fails
                raise await self._silent() from None
            raise self._named(error) from None

    async def _send_update(self, name: str, argument: Any, kind: type | None = None) -> Any:
        """A workflow takes 10 updates at once, unless Temporal is set otherwise; then this one is sent again."""
        while True:
            try:
                return await self._handle.execute_update(name, argument, result_type=kind)
            except RPCError as error:
                if error.status not in BUSY:
                    raise
                await asyncio.sleep(random.uniform(*BUSY_PAUSE_S))  # noqa: S311 - no secret, only a spread

    async def wait_until_stopped(self) -> None:
        """Return when its workflow has ended, well or not."""
        try:
            await self._handle.result()
        except WorkflowFailureError as error:
            raise CallFailed(f"agent {self.name!r} failed: {error.cause or error}") from None
        except RPCError as error:
            raise self._named(error) from None

    async def has_worker(self) -> bool:
        """Whether any worker has polled the task queue in the last minutes."""
        try:
            answer = await self._client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=self._client.namespace,
                    task_queue=TaskQueue(name=self._task_queue),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                )
            )
        except RPCError as error:
            raise temporal_error(error) from None
        return bool(answer.pollers)

    def _named(self, error: RPCError) -> Exception:
        return AgentNotRunning(self.name) if error.status is RPCStatusCode.NOT_FOUND else temporal_error(error)

    def _rejection(self, error: WorkflowUpdateFailedError) -> AutopayError:
        """What the agent rejected is the caller's to correct; anything else is a fault."""
        cause: BaseException = error.cause
        kind, said = (cause.type, cause.message) if isinstance(cause, ApplicationError) else (None, str(cause))
        if kind in DECISIONS:
            return InvalidCall(f"agent {self.name!r} rejects that: {said}", kind)
        if kind in NOT_NOW:
            return _told_short(Unreachable, f"agent {self.name!r} cannot do that now", said, kind)
        return _told_short(CallFailed, f"agent {self.name!r} could not do that", said)

    async def failed_tasks(self) -> int:
        """How often its present workflow task has failed in a row; the server tries again for ever."""
        try:
            described = await self._handle.describe()
        except RPCError as error:
            raise self._named(error) from None
        return max(described.raw_description.pending_workflow_task.attempt - 1, 0)

    async def _silent(self) -> AgentNotAnswering:
        failures = await self.failed_tasks()
        if failures >= FAILED_TRIES:
            revive = command_line("revive", self.name)
            why = f"the task of its workflow failed {failures} times, and the worker's log says why"
            return AgentNotAnswering(f"agent {self.name!r} does not answer: {why}; bring it back: {revive}")
        # A worker that ended is listed for some minutes more.
        why = "its workers are busy, or ended" if await self.has_worker() else "no worker runs"
        why = f"{why}; {start_worker()}"
        return AgentNotAnswering(f"agent {self.name!r} does not answer: {why}")


def _told_short(kind: type[AutopayError], lead: str, said: str, name: str | None = None) -> AutopayError:
    """The error; callers from elsewhere are told its lead only, as a fault of a worker may name servers."""
    failed = kind(f"{lead}: {said}", name)
    failed.told = lead
    return failed
