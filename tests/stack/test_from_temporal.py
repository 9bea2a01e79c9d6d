"""Another team's workflows on a running stack: they buy through Nexus or a child workflow, without our keyring."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.duration_pb2 import Duration
from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest, ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.converter import DataConverter, PayloadCodec
from temporalio.exceptions import CancelledError, ChildWorkflowError, NexusOperationError
from temporalio.service import RPCError
from temporalio.worker import Replayer, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.domain.errors import UnknownRequest
from autopay.domain.request import agent_workflow_id, x402_request_id
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from autopay.temporal import Plugin
from autopay.temporal.connection import keyring_of
from autopay.temporal.converter import data_converter
from autopay.temporal.nexus.contract import WORKFLOW_PREFIX
from autopay.temporal.runner import ReplayableRunner
from localnet.stack import Stack
from tests.stack.callers import TASK_QUEUE, Buys, BuysTwice, FailsOnce
from tests.stack.shell import Shell
from worker import WORKFLOWS
from workflows.messages import MessageChecks

PATIENCE_S = 60
FEED = "/api/market-feed"
PRICE = "0.001000"
AGENT = "serves-others"
EXAMPLE = Path(__file__).parents[2] / "examples" / "temporal_workflow.py"
HERE = {"task_queue": "autopay"}
"""The option of callers in the same namespace who start a child workflow."""


class OtherCodec(PayloadCodec):
    """Encrypts all payloads with another team's key, as Temporal's own sample does."""

    cipher = AESGCM(b"another team has another keyring")

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        metadata = {"encoding": b"binary/encrypted", "encryption-key-id": b"other-team"}
        return [
            Payload(metadata=metadata, data=self.cipher.encrypt(bytes(12), each.SerializeToString(), None))
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(self.cipher.decrypt(bytes(12), each.data, None)) for each in payloads]


@dataclass
class OtherTeam:
    """A team with a client that has no keyring of ours, and an agent of ours that pays for it."""

    stack: Stack
    addresses: StackFile
    ledger: PostgresLedger
    client: Client
    shell: Shell
    agent: str = AGENT
    count: int = field(default=0)

    @property
    def url(self) -> str:
        """What they buy."""
        return self.addresses.market_api + FEED

    async def start(self, **options: Any) -> WorkflowHandle[Any, dict[str, Any]]:
        """Start a workflow of theirs that fetches with those options."""
        self.count += 1
        url = options.pop("url", self.url)
        return await self.client.start_workflow(
            Buys.run, args=[url, {"agent": self.agent, **options}], id=f"buys-{self.count}", task_queue=TASK_QUEUE
        )

    async def buy(self, **options: Any) -> dict[str, Any]:
        """What such a workflow returns."""
        handle = await self.start(**options)
        async with asyncio.timeout(PATIENCE_S):
            return await handle.result()

    async def payments(self) -> int:
        """How many payments the agent has begun."""
        return len(await self.ledger.reports.timeline(self.agent))

    async def is_known(self, request_id: str) -> bool:
        """Whether the ledger has the request."""
        try:
            await self.ledger.requests.get(x402_request_id(self.agent, request_id))
        except UnknownRequest:
            return False
        return True

    async def is_sent(self, request_id: str) -> bool:
        """Whether its payment is on its way."""
        if not await self.is_known(request_id):
            return False
        attempt = (await self.ledger.payments.recall(x402_request_id(self.agent, request_id))).last
        return attempt is not None and attempt.sends > 0

    @asynccontextmanager
    async def example(self, workflow_id: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """The example as a program of its own, killed at the end if it still runs."""
        command = [sys.executable, str(EXAMPLE), self.url, "--agent", self.agent, "--workflow-id", workflow_id]
        environment = {**os.environ, "TEMPORAL_ADDRESS": self.addresses.temporal}
        caller = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        try:
            yield caller
        finally:
            if caller.returncode is None:
                caller.kill()
                await caller.communicate()

    async def weather(self, **faults: object) -> None:
        """Faults at the seller; none of them clears all."""
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{self.addresses.market_api}/weather", json=faults)).raise_for_status()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it, not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
async def team(common_parts: tuple[Stack, StackFile]) -> AsyncIterator[OtherTeam]:
    stack, addresses = common_parts
    home = Path(addresses.home)
    shell = Shell(home)
    await shell("launch", AGENT, "--phase", "full", "--allowance", "0.1", "--tx-limit", "100")
    ledger = open_ledger(Settings.load(home=home).resolve().database_url)
    client = await Client.connect(addresses.temporal, plugins=[Plugin()])
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Buys, BuysTwice, FailsOnce], max_cached_workflows=0):
        yield OtherTeam(stack, addresses, ledger, client, shell)
    await shell("stop", AGENT)
    await ledger.dispose()


@pytest.mark.parametrize("way", [pytest.param({}, id="nexus"), pytest.param(HERE, id="child-workflow")])
async def test_a_caller_without_keyring_gets_content_and_the_same_id_is_answered_from_the_ledger(
    team: OtherTeam, way: dict[str, Any]
) -> None:
    before, request_id = await team.payments(), f"same-{len(way)}"
    first = await team.buy(id=request_id, max_price="0.01", max_age=0, **way)
    assert (first["status"], first["price"]) == ("delivered", PRICE)
    assert first["data"] != {}
    again = await team.buy(id=request_id, max_price="0.01", **way)
    assert (again["data"], again["id"]) == (first["data"], request_id)
    assert await team.payments() == before + 1
    fresh = await team.buy(max_age=3600, **way)
    assert (fresh["status"], fresh["price"]) == ("fresh", None)
    assert fresh["read"] == again["read"]
    assert await team.payments() == before + 1


@pytest.mark.parametrize("way", [pytest.param({}, id="nexus"), pytest.param(HERE, id="child-workflow")])
@pytest.mark.parametrize(
    ("options", "kind", "says", "status"),
    [
        pytest.param(
            {"max_price": "0.0001", "max_age": 0}, "price_above_maximum", "0.0001", "refused", id="above-its-maximum"
        ),
        pytest.param({"max_price": "a lot"}, "invalid_request", "not an amount", None, id="no-amount"),
        pytest.param({"url": "ftp://example.com"}, "invalid_request", "http(s) URL", None, id="no-url"),
        pytest.param({"id": "a b"}, "invalid_request", "is not an id", None, id="no-id"),
        pytest.param({"agent": "nobody"}, "agent_not_running", "'nobody' is not running", None, id="no-agent"),
        pytest.param({"url": "http://10.0.0.1/"}, "insecure_transport", "", "refused", id="host-not-allowed"),
    ],
)
async def test_a_refusal_has_a_stable_name_and_says_why(
    team: OtherTeam, way: dict[str, Any], options: dict[str, Any], kind: str, says: str, status: str | None
) -> None:
    before = await team.payments()
    failed = await team.buy(**options, **way)
    assert (failed["type"], failed["status"]) == (kind, status)
    assert says in failed["message"]
    assert failed["non_retryable"] is (kind != "agent_not_running")
    assert await team.payments() == before


async def test_an_id_that_belongs_to_other_terms_is_refused_without_telling_them(team: OtherTeam) -> None:
    await team.buy(id="taken")
    failed = await team.buy(id="taken", url=f"{team.url}?secret=1")
    assert failed["type"] == "terms_differ"
    assert FEED not in failed["message"]


@pytest.mark.parametrize("way", [pytest.param({}, id="nexus"), pytest.param(HERE, id="child-workflow")])
async def test_a_caller_with_another_keyring_is_refused_before_anything_is_asked_unless_it_has_the_plugin(
    team: OtherTeam, way: dict[str, Any]
) -> None:
    sealed = replace(DataConverter.default, payload_codec=OtherCodec())
    without = await Client.connect(team.addresses.temporal, data_converter=sealed)
    name = f"sealed-{len(way)}"
    async with Worker(without, task_queue=name, workflows=[Buys]):
        options = {"agent": team.agent, "id": name, **way}
        failed = await without.execute_workflow(Buys.run, args=[team.url, options], id=name, task_queue=name)
        assert failed["type"] == "payload_unreadable"
        assert "plugin" in failed["message"]
    assert not await team.is_known(name)
    with_plugin = await Client.connect(team.addresses.temporal, data_converter=sealed, plugins=[Plugin()])
    async with Worker(with_plugin, task_queue=name, workflows=[Buys]):
        bought = await with_plugin.execute_workflow(Buys.run, args=[team.url, options], id=name, task_queue=name)
    assert bought["status"] == "delivered"


@pytest.mark.parametrize("way", [pytest.param({}, id="nexus"), pytest.param(HERE, id="child-workflow")])
async def test_a_paused_agent_holds_the_fetch_and_goes_on_with_it(team: OtherTeam, way: dict[str, Any]) -> None:
    await team.shell("pause", team.agent)
    name = f"held-{len(way)}"
    handle = await team.start(id=name, **way)
    await until(lambda: team.is_known(name))
    assert not await team.is_sent(name)
    await team.shell("resume", team.agent)
    async with asyncio.timeout(PATIENCE_S):
        assert (await handle.result())["status"] == "delivered"


@pytest.mark.parametrize("way", [pytest.param({}, id="nexus"), pytest.param(HERE, id="child-workflow")])
async def test_a_canceled_fetch_cancels_its_request(team: OtherTeam, way: dict[str, Any]) -> None:
    before = await team.payments()
    await team.shell("pause", team.agent)
    name = f"canceled-{len(way)}"
    handle = await team.start(id=name, **way)
    await until(lambda: team.is_known(name))
    await handle.cancel()
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
    cause = failed.value.cause
    assert isinstance(cause, CancelledError | NexusOperationError | ChildWorkflowError)
    result = await team.ledger.requests.result(x402_request_id(team.agent, name))
    assert result.error is not None
    assert (result.status.value, result.error.type) == ("refused", "canceled")
    await team.shell("resume", team.agent)
    assert await team.payments() == before


async def test_a_killed_worker_and_a_killed_caller_pay_once_and_go_on(team: OtherTeam) -> None:
    before = await team.payments()
    await team.weather(latency_ms=1_500)  # of the first question, before anything is signed

    async def has_begun() -> bool:
        backlog = await team.ledger.requests.backlog(team.agent)
        return any(each.request_id.startswith("wf-killed-") for each in (*backlog.queue, *backlog.open))

    async with team.example("killed"):
        await until(has_begun)
    await team.stack.kill("worker-1")
    await team.weather(latency_ms=0)
    async with team.example("killed") as again, asyncio.timeout(PATIENCE_S):
        out, _ = await again.communicate()
    assert out.decode().startswith(f"delivered for {PRICE} USDC: ")
    assert await team.payments() == before + 1


async def test_a_reset_and_a_retry_of_the_callers_workflow_pay_nothing_again(team: OtherTeam) -> None:
    before, options = await team.payments(), {"agent": team.agent, "max_age": 0}
    handle = await team.client.start_workflow(
        BuysTwice.run, args=[team.url, options], id="reset", task_queue=TASK_QUEUE
    )

    async def has_both() -> bool:
        return await team.payments() == before + 2

    await until(has_both)
    history = await handle.fetch_history()
    first = next(each for each in history.events if each.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED)
    await team.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=team.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id="reset"),
            reason="test",
            workflow_task_finish_event_id=first.event_id,
            request_id="reset-1",
        )
    )
    again: WorkflowHandle[Any, list[str]] = team.client.get_workflow_handle("reset", result_type=list[str])
    await again.signal(BuysTwice.end)
    async with asyncio.timeout(PATIENCE_S):
        ids = await again.result()
    assert len(set(ids)) == 2
    assert await team.payments() == before + 2
    retried = await team.client.execute_workflow(
        FailsOnce.run,
        args=[team.url, options],
        id="retried",
        task_queue=TASK_QUEUE,
        retry_policy=RetryPolicy(maximum_attempts=2),
    )
    assert await team.is_known(retried)
    assert await team.payments() == before + 3


async def test_the_content_is_in_our_histories_and_theirs_and_no_secret_is(team: OtherTeam) -> None:
    bought = await team.buy(id="with-secret", headers={"Authorization": "Bearer needle-in-hay"}, max_age=0)
    assert bought["status"] == "delivered"
    for prefix in ("autopay-fetch/with-secret/", f"pay/{team.agent}/with-secret"):
        async for found in team.client.list_workflows(f"WorkflowId STARTS_WITH '{prefix}'"):
            told = (await team.client.get_workflow_handle(found.id, run_id=found.run_id).fetch_history()).to_json()
            assert "needle-in-hay" not in told
    agent = team.client.get_workflow_handle(agent_workflow_id(team.agent))
    assert "needle-in-hay" not in (await agent.fetch_history()).to_json()


async def test_a_caller_of_another_namespace_gets_its_content_by_nexus(team: OtherTeam) -> None:
    await team.client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace="other-team", workflow_execution_retention_period=Duration(seconds=86_400))
    )
    client = await Client.connect(team.addresses.temporal, namespace="other-team")
    options = {"agent": team.agent, "id": "elsewhere"}

    async def is_there() -> bool:
        try:
            await client.start_workflow(Buys.run, args=[team.url, options], id="elsewhere", task_queue=TASK_QUEUE)
        except RPCError:
            return False
        return True

    await until(is_there)  # the server takes a moment to know a new namespace
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Buys]), asyncio.timeout(PATIENCE_S):
        bought = await client.get_workflow_handle("elsewhere", result_type=dict[str, Any]).result()
    assert (bought["status"], bought["price"]) == ("delivered", PRICE)


async def test_every_workflow_of_a_fetch_can_be_replayed_in_the_sandbox(team: OtherTeam) -> None:
    keyring = keyring_of(Settings.load(home=Path(team.addresses.home)).resolve())
    replayer = Replayer(
        workflows=WORKFLOWS,
        data_converter=data_converter(keyring),
        workflow_runner=ReplayableRunner(SandboxedWorkflowRunner()),
        interceptors=[MessageChecks()],
    )
    replayed = 0
    async for found in team.client.list_workflows(f"WorkflowId STARTS_WITH '{WORKFLOW_PREFIX}'"):
        handle = team.client.get_workflow_handle(found.id, run_id=found.run_id)
        await replayer.replay_workflow(await handle.fetch_history())
        replayed += 1
    assert replayed > 10
