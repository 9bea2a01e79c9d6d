"""Metrics in workflows and on the way of the money: counted once whatever is replayed, and never in the way."""

from datetime import timedelta

from structlog.testing import capture_logs
from temporalio import workflow
from temporalio.client import Client
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from autopay.domain.agent.state.breakers import FAULTS, Breakers
from autopay.domain.request import RequestStatus
from autopay.metrics.table import BREAKER_CHANGES
from tests.unit.metrics.meters import BrokenMeter, fresh_labels, recorded_by
from tests.workflow.conftest import World
from tests.workflow.world import PRICE
from workflows.agent_parts.measured import CountedBreakers

SHORT = timedelta(seconds=1)


@workflow.defn
class OpensAndCloses:
    """Its breaker of the chain opens, and closes; a turn is made after each."""

    @workflow.run
    async def run(self) -> None:
        breakers = Breakers()
        counted = CountedBreakers(breakers)
        for _ in range(FAULTS):
            breakers.rpc.record_fault(workflow.now())
            counted.update("buyer", breakers)
        await workflow.sleep(SHORT)
        counted.update("buyer", breakers)
        breakers.rpc.record_success()
        counted.update("buyer", breakers)
        await workflow.sleep(SHORT)


async def test_a_breaker_is_counted_once_however_often_its_agent_is_replayed(env: WorkflowEnvironment) -> None:
    buffer = MetricBuffer(10_000)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    client = await Client.connect(env.client.service_client.config.target_host, runtime=runtime)

    def counted() -> list[str]:
        updates = [each for each in buffer.retrieve_updates() if each.metric.name == BREAKER_CHANGES.name]
        assert all(dict(each.attributes).items() >= {"agent": "buyer", "dependency": "rpc"}.items() for each in updates)
        return [str(each.attributes["state"]) for each in updates]

    runner = UnsandboxedWorkflowRunner()
    with fresh_labels():
        async with Worker(
            client, task_queue="metrics", workflows=[OpensAndCloses], workflow_runner=runner, max_cached_workflows=0
        ):
            handle = await env.client.start_workflow(OpensAndCloses.run, id="metrics", task_queue="metrics")
            await handle.result()
    assert counted() == ["open", "closed"], "each of the turns replayed those before it"
    replayer = Replayer(workflows=[OpensAndCloses], workflow_runner=runner, runtime=runtime)
    await replayer.replay_workflow(await handle.fetch_history())
    assert counted() == []


async def test_a_payment_is_made_and_booked_while_the_meter_fails(world: World) -> None:
    with capture_logs() as logs, recorded_by(BrokenMeter()):
        result = await (await world.pay(first=True)).result()
    assert result.status == RequestStatus.DELIVERED
    assert await world.statuses() == ["VERIFIED"]
    assert world.chain.spent == PRICE
    failed = [each["metric"] for each in logs if each["event"] == "a metric is not recorded"]
    assert len(failed) == len(set(failed))
    assert set(failed) >= {"autopay_requests_ended", "autopay_paid_atomic", "autopay_sql_seconds"}
