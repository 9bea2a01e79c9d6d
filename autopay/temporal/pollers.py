"""Which workers ask Temporal for work: their processes, versions and builds, as their identities and Temporal say.

A worker's identity is `PID@HOST/autopay-VERSION`; that of a release before has no version.
"""

import os
import re
import socket
from datetime import UTC, datetime
from typing import Literal

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client

from autopay import __version__
from autopay.domain.values import Value

Kind = Literal["workflow", "activity"]

_KINDS: dict[Kind, TaskQueueType.ValueType] = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}
_IDENTITY = re.compile(r"(?P<pid>\d+)@(?P<host>[^/]+)(?:/autopay-(?P<version>\S+))?")


class Poller(Value):
    """A worker that has asked for work of a task queue in the last minutes: Temporal forgets it five minutes later.

    `build_id` is None for an unversioned one, `version` for one that does not say.
    """

    identity: str
    build_id: str | None
    version: str | None
    seen_at: datetime

    @property
    def process(self) -> str:
        """`PID@HOST`."""
        return process_of(self.identity)

    @property
    def pid_here(self) -> int | None:
        """The process's id, when it is on this machine."""
        found = _IDENTITY.fullmatch(self.identity)
        return int(found["pid"]) if found is not None and found["host"] == socket.gethostname() else None


def worker_identity() -> str:
    """By which Temporal knows this worker: its process, machine and version."""
    return f"{os.getpid()}@{socket.gethostname()}/autopay-{__version__}"


def process_of(identity: str) -> str:
    """`PID@HOST` of a worker's identity."""
    return identity.partition("/")[0]


async def pollers(client: Client, task_queue: str, kind: Kind) -> list[Poller]:
    """Those that Temporal remembers of that task queue.

    Raises:
        RPCError: Temporal does not answer, or does not allow it.
    """
    answer = await client.workflow_service.describe_task_queue(
        DescribeTaskQueueRequest(
            namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=_KINDS[kind]
        )
    )
    return [_poller(each) for each in answer.pollers]


def _poller(info: PollerInfo) -> Poller:
    found = _IDENTITY.fullmatch(info.identity)
    return Poller(
        identity=info.identity,
        build_id=info.deployment_options.build_id or None,
        version=None if found is None else found["version"],
        seen_at=info.last_access_time.ToDatetime(UTC),
    )
