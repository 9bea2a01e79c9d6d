"""Talks to an agent's workflow: signals, the update that asks for a request, and the query for its status.

What must not live here: what is printed, and the ledger.
"""

import asyncio
import random
from typing import Any

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
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from autopay.cli.exits import CommandError, ExitCode
from autopay.domain.agent import Accepted, AgentStatus
from autopay.domain.offer import Reason
from autopay.domain.request import RequestError, RequestSpec, agent_workflow_id

ANSWER_TIMEOUT_S = 15
BUSY_PAUSE_S = (0.1, 0.5)
BUSY = (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.UNKNOWN)
"""Too many updates at once, or a server in the middle of its start: the same request again finds what was begun."""
START_WORKER = "start one: python worker.py"


class AgentNotRunning(Exception):
    """No workflow of that agent runs."""


class AgentSilent(CommandError):
    """The agent's workflow runs, and nobody answers for it."""


class AgentRefuses(Exception):
    """The agent did not accept a request."""

    def __init__(self, error: RequestError) -> None:
        super().__init__(error.message)
        self.error = error


class AgentCalls:
    """One agent's workflow, seen from outside."""

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
            raise _unreachable(error) from None
        return described.status is WorkflowExecutionStatus.RUNNING

    async def signal(self, name: str, *arguments: Any) -> None:
        """Send a signal.

        Raises:
            AgentNotRunning: there is nobody to hear it.
        """
        try:
            await self._handle.signal(name, args=list(arguments))
        except RPCError as error:
            raise self._named(error) from None

    async def status(self) -> AgentStatus:
        """What the agent says of itself; works for one that has stopped, too, as long as Temporal remembers it."""
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                found: AgentStatus = await self._handle.query("status", result_type=AgentStatus)
                return found
        except (TimeoutError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            raise await self._silent() from None
        except RPCError as error:
            if error.status in (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.DEADLINE_EXCEEDED):
                raise await self._silent() from None
            raise self._named(error) from None

    async def request(self, spec: RequestSpec, timeout_s: float) -> Accepted:
        """Ask for paid data.

        Raises:
            AgentRefuses: with the reason's name.
            AgentNotRunning: there is nobody to ask.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self._when_there_is_room(spec)
        except WorkflowUpdateFailedError as error:
            raise _refusal(error) from None
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError):
            raise await self._silent() from None
        except RPCError as error:
            raise self._named(error) from None

    async def _when_there_is_room(self, spec: RequestSpec) -> Accepted:
        """A workflow takes so many updates at once (10, as Temporal comes); the next one waits for its turn."""
        while True:
            try:
                accepted: Accepted = await self._handle.execute_update("request", spec, result_type=Accepted)
            except RPCError as error:
                if error.status not in BUSY:
                    raise
                await asyncio.sleep(random.uniform(*BUSY_PAUSE_S))  # noqa: S311 - no secret, only a spread
            else:
                return accepted

    async def wait_until_stopped(self) -> None:
        """Return when its workflow has ended, well or not."""
        try:
            await self._handle.result()
        except WorkflowFailureError as error:
            raise CommandError(f"agent {self.name!r} ended badly: {error.cause or error}", ExitCode.FAULT) from None
        except RPCError as error:
            raise self._named(error) from None

    async def has_worker(self) -> bool:
        """Whether any worker has asked for work lately."""
        try:
            answer = await self._client.workflow_service.describe_task_queue(
                DescribeTaskQueueRequest(
                    namespace=self._client.namespace,
                    task_queue=TaskQueue(name=self._task_queue),
                    task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
                )
            )
        except RPCError as error:
            raise _unreachable(error) from None
        return bool(answer.pollers)

    def _named(self, error: RPCError) -> Exception:
        return AgentNotRunning(self.name) if error.status is RPCStatusCode.NOT_FOUND else _unreachable(error)

    async def _silent(self) -> AgentSilent:
        # A worker that ended is listed for some minutes more.
        why = "its workers are busy, or ended" if await self.has_worker() else "no worker runs"
        why = f"{why}; {START_WORKER}"
        return AgentSilent(f"agent {self.name!r} does not answer: {why}", ExitCode.UNREACHABLE)


def _refusal(error: WorkflowUpdateFailedError) -> Exception:
    """A decision is one of the named reasons; anything else is a fault, such as an agent that the ledger lost."""
    cause: BaseException = error.cause
    if isinstance(cause, ApplicationError) and cause.type in set(Reason):
        return AgentRefuses(RequestError(type=cause.type, message=cause.message))
    return CommandError(f"the agent could not take the request: {cause}", ExitCode.FAULT)


def _unreachable(error: RPCError) -> CommandError:
    return CommandError(f"Temporal answers with an error: {error.message}", ExitCode.UNREACHABLE)
