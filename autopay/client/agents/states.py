"""What Temporal says of agents' workflows, and what the agents say of themselves."""

import asyncio
from collections.abc import Collection
from datetime import timedelta

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from autopay.client.agents.handle import AgentHandle
from autopay.client.errors import AutopayError, temporal_error
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.request import agent_workflow_id
from autopay.domain.text.printable import printable
from autopay.temporal.attributes import STATE

AT_ONCE = 16

ANSWER = timedelta(seconds=5)
"""How long Temporal may take to describe a workflow."""

STARTING = "starting"
"""Its workflow runs, and has not said its state yet."""

ALIVE = frozenset({*(each.value for each in AgentState if each is not AgentState.STOPPED), STARTING})


async def states_of(client: Client, names: Collection[str]) -> dict[str, str]:
    """The present state of each agent, or how its workflow ended; `never launched` without a workflow.

    Asks Temporal for each workflow, a few at a time: its visibility store can be behind.

    Raises:
        AutopayError: Temporal answers with an error, or not in time.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def state_of(name: str) -> str:
        async with slots:
            try:
                return _state_of(await client.get_workflow_handle(agent_workflow_id(name)).describe(rpc_timeout=ANSWER))
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    return "never launched"
                raise temporal_error(error) from None

    return dict(zip(names, await asyncio.gather(*map(state_of, names)), strict=True))


async def statuses_of(
    client: Client, names: Collection[str], task_queue: str, timeout_s: float | None = None
) -> dict[str, AgentStatus | None]:
    """The status of each agent, asked a few at a time; None for one that does not answer within that time."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def status_of(name: str) -> AgentStatus | None:
        async with slots:
            try:
                return await AgentHandle(client, name, task_queue).status(timeout_s)
            except AutopayError:
                return None

    return dict(zip(names, await asyncio.gather(*(status_of(name) for name in names)), strict=True))


def _state_of(run: WorkflowExecution) -> str:
    if run.status is WorkflowExecutionStatus.RUNNING:
        state = run.typed_search_attributes.get(STATE)
        return printable(state) if state else STARTING
    if run.status is None or run.status is WorkflowExecutionStatus.COMPLETED:
        return AgentState.STOPPED.value
    return run.status.name.lower()
