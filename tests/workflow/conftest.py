"""The time-skipping server, a worker over the played world, and a sandboxed replay of every history that was made."""

import asyncio
import gzip
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol
from pytest_timeout import _get_item_settings  # type: ignore[import-untyped]
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from activities.purchase import PurchaseStep
from autopay.adapters.answers import AnswerWatch
from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.solana.signer import PaymentSigner
from autopay.adapters.vault import Keyring, Vault
from autopay.domain.payment.steps import PAYMENT_RELEASE, PaymentOrder
from autopay.domain.request import RequestResult, RequestSpec, x402_request_id
from autopay.settings import Settings
from autopay.temporal.attributes import ALL
from autopay.temporal.converter import data_converter
from autopay.temporal.runner import ReplayableRunner
from localnet.temporal import DYNAMIC_CONFIG
from tests.workflow.world import SLOT_MS, PlayedAccountWatch, PlayedChain, PlayedSeller, agent_with_session
from worker import WORKFLOWS, activities, make_waits_worker
from workflows.messages import MessageChecks
from workflows.paid_request import PaidRequest

KEYRING = Keyring({0: bytes(32), 1: b"histories of tests are no secret"})
"""Always the same, so that the histories of a release can be read by every later one."""

RECORD_TO = os.environ.get("AUTOPAY_RECORD_HISTORIES")
"""Where `make histories` keeps what the tests of this release make."""

HOLD = timedelta(milliseconds=200)
"""How long a step of `Fetch` waits for an answer, in real time: virtual time stands still meanwhile."""

MOST_RECORDED = 60_000
SHUTDOWN_S = 30
REPLAY_S = 100
HANGS_AFTER_S = 120
TRIES = 3
HUNG = f"Timeout (>{HANGS_AFTER_S}"
URL = "https://seller.example/api/feed"


class World:
    """Everything a test of a workflow touches."""

    def __init__(self, env: WorkflowEnvironment, ledger: PostgresLedger, chain: PlayedChain) -> None:
        self.env, self.ledger, self.chain = env, ledger, chain
        self.vault = Vault(KEYRING)
        self.seller = PlayedSeller(chain)
        self.accounts = PlayedAccountWatch(chain)
        self.answers = AnswerWatch(ledger.requests, ledger.events.listening)
        self.purchases = PurchaseStep(ledger.requests, self.answers, self.vault, hold=HOLD)
        self.client: Client = env.client
        self.started: set[str] = set()
        self.test = ""

    def worker(self, **options: Any) -> Worker:
        """A worker with the real activities; the replay at the end is in the sandbox. `options` are the SDK's."""
        settings = Settings(slot_ms=SLOT_MS)
        steps = activities(
            settings,
            ledger=self.ledger,
            chain=self.chain,
            seller=self.seller,
            signer=PaymentSigner(self.vault),
            vault=self.vault,
            recent=self.chain,
        )
        return Worker(
            self.client,
            task_queue=settings.task_queue,
            workflows=WORKFLOWS,
            activities=steps,
            workflow_runner=ReplayableRunner(UnsandboxedWorkflowRunner()),
            interceptors=[MessageChecks()],
            **options,
        )

    def waits_worker(self) -> Worker:
        """The worker of the queue for waits."""
        settings = Settings(slot_ms=SLOT_MS)
        return make_waits_worker(self.client, settings, self.ledger.sessions, self.accounts, self.purchases)

    async def pay(
        self, request_id: str = "r1", *, first: bool = False, release: int = PAYMENT_RELEASE
    ) -> WorkflowHandle[PaidRequest, RequestResult]:
        """Accept a request and start its payment; `first` as its agent starts it, else as adoption does."""
        spec = RequestSpec(request_id=request_id, url=URL)
        await self.ledger.requests.accept("tester", spec, 1.0, 10)
        return await self.start(request_id, spec if first else None, release)

    async def start(
        self, request_id: str, accepted: RequestSpec | None = None, release: int = PAYMENT_RELEASE
    ) -> WorkflowHandle[PaidRequest, RequestResult]:
        """Start the payment of an accepted request; release 0 as 0.2.0 starts it."""
        key = x402_request_id("tester", request_id)
        order = PaymentOrder(agent="tester", request_id=request_id, request_key=key, url=URL, accepted=accepted)
        self.started.add(f"pay/tester/{request_id}")
        return await self.client.start_workflow(
            "PaidRequest",
            args=[order, release] if release else [order],
            id=f"pay/tester/{request_id}",
            task_queue="autopay",
            result_type=RequestResult,
        )

    async def statuses(self) -> list[str]:
        """The statuses of all attempts, oldest first."""
        return [row.status for row in reversed(await self.ledger.reports.timeline("tester"))]

    async def replay_everything(self) -> int:
        """Replay every history in the sandbox; raises on any that is not deterministic."""
        replayer = Replayer(
            workflows=WORKFLOWS,
            data_converter=data_converter(KEYRING),
            workflow_runner=ReplayableRunner(SandboxedWorkflowRunner()),
            interceptors=[MessageChecks()],
        )
        made = {
            "agent/tester",
            *self.started,
            *(f"pay/tester/{row.request_id}" for row in await self.ledger.reports.timeline("tester")),
        }
        count = 0
        for workflow_id in made:
            try:
                history = await self.client.get_workflow_handle(workflow_id).fetch_history()
            except RPCError:  # no agent in this test
                continue
            await replayer.replay_workflow(history)
            self._record(workflow_id, history)
            count += 1
        return count

    def _record(self, workflow_id: str, history: WorkflowHistory) -> None:
        if RECORD_TO is None:
            return
        kind = workflow_id.partition("/")[0]  # one agent and one payment of each test tell enough
        name = re.sub(r"[^A-Za-z0-9]+", "-", f"{self.test}-{kind}").strip("-")
        folder = Path(RECORD_TO)
        folder.mkdir(parents=True, exist_ok=True)
        packed = gzip.compress(history.to_json().encode(), mtime=0)
        if len(packed) <= MOST_RECORDED:
            (folder / f"{name}.json.gz").write_bytes(packed)


async def register_attributes(client: Client) -> None:
    """Tell the server our search attributes, as `up` does for the dev server."""
    kinds = {attribute.name: attribute.indexed_value_type.value for attribute in ALL}
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=kinds)  # type: ignore[arg-type]
    await client.operator_service.add_search_attributes(request)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Run a test anew when the time-skipping server has locked up, and say so; any other failure stands.

    The server (Java) now and then writes "invalid history builder state for action", and answers nothing from then on.
    A test that hangs by itself hangs each time, and fails.
    """
    if not isinstance(item, pytest.Function) or "env" not in item.fixturenames:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for left in reversed(range(TRIES)):
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if left == 0 or not any(report.failed and HUNG in str(report.longrepr) for report in reports):
            break
        sys.stderr.write(f"\n{item.nodeid}: the test server has locked up; the test is run anew\n")
        item._initrequest()  # as pytest does before a first run
        item.ihook.pytest_timeout_cancel_timer(item=item)  # each run has its own time
        item.ihook.pytest_timeout_set_timer(item=item, settings=_get_item_settings(item))
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test on the time-skipping server takes seconds; one that takes this long hangs."""
    for item in items:
        if isinstance(item, pytest.Function) and "env" in item.fixturenames:
            item.add_marker(pytest.mark.timeout(HANGS_AFTER_S))


@pytest.fixture
async def env() -> AsyncIterator[WorkflowEnvironment]:
    """A time-skipping server of this test's own."""
    server = shutil.which("temporal-test-server", path=str(Path(sys.executable).parent))
    started = await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=server, data_converter=data_converter(KEYRING)
    )
    await register_attributes(started.client)
    yield started
    # The SDK asks the server to end and waits for that for ever; a server that has locked up does not hear it.
    async with asyncio.timeout(SHUTDOWN_S):
        await started.shutdown()


@pytest.fixture
async def world(
    env: WorkflowEnvironment, ledger: PostgresLedger, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """The played world with one agent, `tester`; every history is replayed at the end."""
    async with played(env, ledger, request.node.name) as made:
        yield made


@pytest.fixture
async def live_env() -> AsyncIterator[WorkflowEnvironment]:
    """A real development server, whose time is real."""
    started = await WorkflowEnvironment.start_local(
        dev_server_existing_path=shutil.which("temporal", path=str(Path(sys.executable).parent)),
        dev_server_extra_args=[each for setting in DYNAMIC_CONFIG for each in ("--dynamic-config-value", setting)],
        dev_server_log_level="error",
        data_converter=data_converter(KEYRING),
        search_attributes=ALL,
    )
    async with started as running:
        yield running


@pytest.fixture
async def live_world(
    live_env: WorkflowEnvironment, ledger: PostgresLedger, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    """The same on a real development server: the time-skipping one can lock up for ever when many messages meet a run
    that continues as new with payments under way."""
    async with played(live_env, ledger, request.node.name) as made:
        yield made


@asynccontextmanager
async def played(env: WorkflowEnvironment, ledger: PostgresLedger, test: str) -> AsyncIterator[World]:
    """The world of one test on that server, with its workers."""
    chain = PlayedChain(env.get_current_time, await env.get_current_time())
    made = World(env, ledger, chain)
    made.test = test.removeprefix("test_")
    await agent_with_session(ledger, made.vault, chain)
    workers = [made.worker(), made.waits_worker()]
    working = [asyncio.create_task(worker.run()) for worker in workers]
    yield made
    await made.answers.close()
    # A test that failed leaves workflows behind whose local activities can hold up the SDK's shutdown for ever.
    shutdown = asyncio.gather(*(worker.shutdown() for worker in workers))
    await asyncio.wait({shutdown}, timeout=SHUTDOWN_S)
    for task in working:
        task.cancel()
    await asyncio.wait(working, timeout=SHUTDOWN_S)
    assert shutdown.done(), f"the workers did not stop within {SHUTDOWN_S} s"
    async with asyncio.timeout(REPLAY_S):  # a locked-up server gives no history out, and the test's own time is over
        assert await made.replay_everything() > 0
