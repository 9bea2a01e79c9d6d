"""Which build of the workers new work goes to: Temporal's worker deployment versioning.

A worker with AUTOPAY_BUILD_ID belongs to a version of the deployment `autopay`. Runs are pinned to the version that
began them: a payment ends on it, an agent continues as new on the current version as soon as it learns of it. So no new
build ever replays an old one's history, and old workers may stop when their version is drained. Without
AUTOPAY_BUILD_ID workers are unversioned, which suits one machine.
"""

from datetime import UTC, datetime
from typing import Literal

from temporalio.api.deployment.v1 import WorkerDeploymentInfo
from temporalio.api.enums.v1 import VersionDrainageStatus
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
    SetWorkerDeploymentRampingVersionRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.domain.errors import PermanentFault
from autopay.domain.values import Value

DEPLOYMENT = "autopay"

_DRAINAGE: dict[int, Literal["draining", "drained"]] = {
    VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINING: "draining",
    VersionDrainageStatus.VERSION_DRAINAGE_STATUS_DRAINED: "drained",
}


class UnknownBuild(PermanentFault):
    """No worker of that build has ever asked for work; start one with AUTOPAY_BUILD_ID set to it."""


class Build(Value):
    """A version of the workers and its state in the deployment; it gets `percent` of new work."""

    build_id: str
    state: Literal["current", "ramping", "draining", "drained", "inactive"]
    percent: float
    since: datetime


async def builds(client: Client) -> list[Build]:
    """Every version that Temporal knows, newest first; none when all workers are unversioned."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=DEPLOYMENT)
    try:
        answer = await client.workflow_service.describe_worker_deployment(request)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return []
        raise
    return [_build(each, answer.worker_deployment_info) for each in answer.worker_deployment_info.version_summaries]


async def make_current(client: Client, build_id: str, *, percent: float | None = None) -> None:
    """Send new payments to that build, and move the agents to it; with `percent`, only that share of new work.

    Raises:
        UnknownBuild: no worker of it has polled.
    """
    try:
        if percent is None:
            await client.workflow_service.set_worker_deployment_current_version(
                SetWorkerDeploymentCurrentVersionRequest(
                    namespace=client.namespace, deployment_name=DEPLOYMENT, build_id=build_id
                )
            )
        else:
            await client.workflow_service.set_worker_deployment_ramping_version(
                SetWorkerDeploymentRampingVersionRequest(
                    namespace=client.namespace, deployment_name=DEPLOYMENT, build_id=build_id, percentage=percent
                )
            )
    except RPCError as error:
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION):
            raise UnknownBuild(f"{build_id}: {error.message}") from None
        raise


def _build(summary: WorkerDeploymentInfo.WorkerDeploymentVersionSummary, info: WorkerDeploymentInfo) -> Build:
    build_id, routing = summary.deployment_version.build_id, info.routing_config
    state: Literal["current", "ramping", "draining", "drained", "inactive"] = "inactive"
    if routing.current_deployment_version.build_id == build_id:
        state = "current"
    elif routing.ramping_deployment_version.build_id == build_id:
        state = "ramping"
    elif summary.drainage_info.status in _DRAINAGE:
        state = _DRAINAGE[summary.drainage_info.status]
    percent = {"current": 100 - routing.ramping_version_percentage, "ramping": routing.ramping_version_percentage}
    return Build(
        build_id=build_id,
        state=state,
        percent=percent.get(state, 0.0),
        since=summary.create_time.ToDatetime(UTC),
    )
