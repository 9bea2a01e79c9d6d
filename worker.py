"""Runs a worker: `python worker.py`, or `autopay worker`. The composition root, the only place that builds adapters.

Takes everything from settings (AUTOPAY_* and TEMPORAL_* variables, `.env`, or the embedded stack that runs in
AUTOPAY_HOME). SIGTERM and Ctrl-C let what is in flight finish, then it exits 0. With `--alive FILE` it touches FILE
every ten seconds, for health checks.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
import uvloop
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig, WorkflowRunner

from activities.adopt import AdoptStep
from activities.agent_steps import AgentSteps
from activities.decide import DecideStep
from activities.fetch import FetchStep
from activities.known_attempts import KnownAttempts
from activities.log import LogStep
from activities.notices import AnnounceStep, NoticeOutbox
from activities.parse import ParseStep
from activities.purchase import PurchaseStep
from activities.sign import Readings, SignStep
from activities.start_payments import StartPayments
from activities.submit import SubmitStep
from activities.top_up import TopUp
from activities.verify import VerifyStep
from activities.webhooks import WebhookStep
from autopay.adapters.answers import AnswerWatch
from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.maintenance.roles import may_alter_history
from autopay.adapters.postgres.sessions.recent import RecentSessions
from autopay.adapters.solana.account_watch import SolanaAccountWatch
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.confirmations import BatchedConfirmations
from autopay.adapters.solana.recent import RecentFacts
from autopay.adapters.solana.rpc import NodeRpc
from autopay.adapters.solana.signer import PaymentSigner
from autopay.adapters.vault import Vault
from autopay.adapters.x402.facilitator import HttpFacilitators
from autopay.adapters.x402.mcp_seller import AnySeller
from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.agent.ports import AccountWatch, AgentLedger
from autopay.domain.errors import PermanentFault, SettingsError, TransientFault
from autopay.domain.payment.ports import Chain, Facilitator, Seller, SessionStore, Signer, SigningFacts
from autopay.domain.payment.ports import Sealer as VaultPort
from autopay.domain.payment.settlement import FINALITY_SLOTS
from autopay.domain.policy.reach import Reach
from autopay.domain.text.command_line import CALL, command_line
from autopay.garbage import leave_out_of_collections_what_is_loaded
from autopay.health.alive import can_be_touched, report_alive
from autopay.health.ready import Readiness, ask_ledger, ask_temporal, ask_workers
from autopay.health.serving import serving_health
from autopay.logs import set_up_logging
from autopay.own_call import own_call
from autopay.settings import Settings
from autopay.settings.known_secrets import known_secrets
from autopay.step_logs import StepLogs
from autopay.temporal.connection import connect, keyring_of
from autopay.temporal.nexus.handler import AutopayHandler
from autopay.temporal.pollers import worker_identity
from autopay.temporal.rollout import DEPLOYMENT
from autopay.temporal.runner import ReplayableRunner
from autopay.temporal.schedules import schedule_adoption
from autopay.temporal.telemetry import open_telemetry, reading_gauges
from autopay.temporal.webhooks import start_webhooks
from workflows.adopt import Adopt
from workflows.agent import Agent
from workflows.fetch import Fetch, GetData
from workflows.messages import MessageChecks
from workflows.paid_request import PaidRequest
from workflows.policies import WAITS
from workflows.redeliver import Redeliver
from workflows.webhooks import WebhookEndpoint

SHUTDOWN_TIMEOUT = timedelta(seconds=30)
"""How long activities in flight may take to finish after SIGTERM; a submit that is cut off is sent again."""

MAX_WAITS = 1000
"""How many agents one worker may watch for a top-up, and fetches for their answers, at the same time."""

START_TIMEOUT = timedelta(seconds=60)
"""How long a worker that starts waits for the database, and then for the chain, to answer."""

SWITCH_INTERVAL_S = 0.0005
"""How long one Python thread may keep the others waiting. The SDK runs each activation of a workflow in a thread of its
own; with Python's 5 ms it waits that long for a busy event loop, a dozen times for one payment."""

WORKFLOWS = [Agent, PaidRequest, Adopt, Redeliver, Fetch, GetData, WebhookEndpoint]

log = structlog.get_logger("autopay.worker")


def activities(
    settings: Settings,
    *,
    ledger: AgentLedger,
    chain: Chain,
    seller: Seller,
    signer: Signer,
    vault: VaultPort,
    facilitator: Facilitator | None = None,
    recent: SigningFacts | None = None,
    outbox: NoticeOutbox | None = None,
) -> Sequence[Callable[..., Any]]:
    """Every activity, with its adapters. Tests pass their own, and as `recent` a chain whose clock is virtual."""
    slot_ms, known = settings.slot_ms, KnownAttempts()
    readings = Readings(recent or RecentFacts(chain, slot_ms), RecentSessions(ledger.sessions))
    fetch = FetchStep(ledger.requests, seller, vault)
    parse = ParseStep(ledger, readings.sessions, settings.network, settings.mints(), facilitator)
    counts_first_send = None if facilitator is not None else known
    sign = SignStep(ledger, chain, readings, signer, counts_first_send, settings.content_ask_s)
    verify = VerifyStep(ledger, chain, signer, BatchedConfirmations(chain, slot_ms), known, slot_ms)
    announce = AnnounceStep(outbox or NoticeOutbox())
    final_in_ms = FINALITY_SLOTS * slot_ms
    submit = SubmitStep(ledger, seller, vault, verify.verify, known, final_in_ms, announce.announce, facilitator)
    closing = LogStep(ledger, settings.content_ask_s, announce.announce)
    agent = AgentSteps(ledger, chain, settings.network)
    return [
        fetch.fetch,
        parse.parse,
        sign.sign,
        submit.submit,
        verify.verify,
        DecideStep(ledger.policies).decide,
        closing.log,
        closing.recall,
        agent.recover,
        agent.save_agent,
        agent.change_phase,
        agent.enqueue,
        agent.enqueue_many,
        agent.ended_among,
        agent.balances,
        StartPayments().start_payments,
        announce.announce,
    ]


def make_worker(
    client: Client,
    settings: Settings,
    steps: Sequence[Callable[..., Any]],
    runner: WorkflowRunner | None = None,
    services: Sequence[object] = (),
) -> Worker:
    """A worker of the main task queue. Workflows run without the sandbox by default: tests replay them in it.

    `services` are handlers of Nexus services.
    """
    return Worker(
        client,
        task_queue=settings.task_queue,
        workflows=WORKFLOWS,
        activities=steps,
        nexus_service_handlers=services,
        workflow_runner=ReplayableRunner(runner or UnsandboxedWorkflowRunner()),
        interceptors=[MessageChecks(), StepLogs()],
        graceful_shutdown_timeout=SHUTDOWN_TIMEOUT,
        max_concurrent_activities=settings.worker_max_activities,
        max_concurrent_local_activities=settings.worker_max_activities,
        max_concurrent_workflow_tasks=settings.worker_max_workflow_tasks,
        deployment_config=_deployment(settings),
        identity=worker_identity(),
    )


def _deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """The deployment version of this worker; None without AUTOPAY_BUILD_ID. Runs are pinned to the version that began
    them. That is set here and not by each workflow, as the server refuses it from a worker without a version."""
    if not settings.build_id:
        return None
    version = WorkerDeploymentVersion(deployment_name=DEPLOYMENT, build_id=settings.build_id)
    return WorkerDeploymentConfig(
        version=version, use_worker_versioning=True, default_versioning_behavior=VersioningBehavior.PINNED
    )


def make_waits_worker(
    client: Client,
    settings: Settings,
    sessions: SessionStore,
    accounts: AccountWatch,
    purchases: PurchaseStep | None = None,
    webhooks: WebhookStep | None = None,
) -> Worker:
    """A worker of the task queue for long waits: an agent that is short of money has one idle activity there, a fetch
    of another team's workflow one until it is answered."""
    of_purchases = [] if purchases is None else [purchases.purchase, purchases.cancel_purchase]
    return Worker(
        client,
        task_queue=settings.task_queue + WAITS,
        activities=[
            TopUp(sessions, accounts).wait_for_top_up,
            *of_purchases,
            *([] if webhooks is None else [webhooks.deliver_webhooks]),
        ],
        interceptors=[StepLogs()],
        max_concurrent_activities=MAX_WAITS,
        identity=worker_identity(),
    )


async def wait_until_ready(check: Callable[[], Awaitable[None]], timeout: timedelta = START_TIMEOUT) -> None:
    """Run a check every second until it passes. Raises its transient fault after the time-out, others at once."""
    deadline = asyncio.get_running_loop().time() + timeout.total_seconds()
    while True:
        try:
            return await check()
        except TransientFault as fault:
            if asyncio.get_running_loop().time() > deadline:
                raise
            log.warning("worker waits for what does not answer", fault=str(fault))
            await asyncio.sleep(1)


async def run(settings: Settings, alive: Path | None = None) -> None:
    """Build everything, check that each part answers, work until SIGTERM or SIGINT, and finish what is in flight."""
    async with AsyncExitStack() as stack:
        readiness = Readiness("database", "chain", "temporal", "polling")
        await stack.enter_async_context(serving_health(settings.health, readiness))
        keyring = keyring_of(settings)
        vault = Vault(keyring)
        ledger = open_ledger(settings.database_url)
        stack.push_async_callback(ledger.dispose)
        await wait_until_ready(ledger.maintenance.check_schema)
        if (refused := await ledger.keys.refuse_or_register(keyring)) is not None:
            raise SettingsError(refused)
        if await may_alter_history(ledger.database.engine):
            see = command_line("db", "roles")
            log.warning(f"this database role may alter history: give the worker autopay_work, see: {see}")
        chain = SolanaChain(await stack.enter_async_context(NodeRpc(settings.solana_rpc_url, settings.network)))
        await wait_until_ready(chain.check_network)
        seller = _seller(settings)
        stack.push_async_callback(seller.close)
        client = await connect(settings, ledger.keys.knows)
        readiness.watch(
            database=lambda: ask_ledger(ledger), chain=chain.finalized_tip, temporal=lambda: ask_temporal(client)
        )
        facilitator = _facilitator(settings, stack)
        signer = PaymentSigner(vault)
        outbox = NoticeOutbox()
        stack.push_async_callback(outbox.close)
        steps = activities(
            settings,
            ledger=ledger,
            chain=chain,
            seller=seller,
            signer=signer,
            vault=vault,
            facilitator=facilitator,
            outbox=outbox,
        )
        steps = [*steps, AdoptStep(ledger.requests, timedelta(seconds=settings.content_ask_later_s)).adopt]
        accounts = SolanaAccountWatch(chain, settings.solana_ws_url)
        stack.push_async_callback(accounts.close)
        answers = AnswerWatch(ledger.requests, ledger.events.listening)
        stack.push_async_callback(answers.close)
        purchases = PurchaseStep(ledger.requests, answers, vault, settings.nexus_agents)
        webhooks = await stack.enter_async_context(webhooks_of(settings, ledger, vault))
        waits = make_waits_worker(client, settings, ledger.sessions, accounts, purchases, webhooks)
        await stack.enter_async_context(reading_gauges(settings, chain))
        stopped = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
        async with make_worker(client, settings, steps, services=[AutopayHandler(ledger.requests)]) as payments, waits:
            readiness.watch(polling=lambda: ask_workers(payments, waits))
            if alive is not None:
                reporting = asyncio.create_task(report_alive(client, alive))
                stack.callback(reporting.cancel)
            await begin_adoption(client, settings)
            await begin_webhooks(client, settings, ledger, webhooks)
            leave_out_of_collections_what_is_loaded()
            log.info("worker ready", task_queue=settings.task_queue, network=settings.network.value, pid=os.getpid())
            await stopped.wait()
            readiness.is_stopping = True
            log.info("worker is stopping", seconds=SHUTDOWN_TIMEOUT.total_seconds())
        log.info("worker stopped")


def _facilitator(settings: Settings, stack: AsyncExitStack) -> HttpFacilitators | None:
    if not settings.facilitators:
        return None
    facilitator = HttpFacilitators(settings.facilitators, verifies=settings.facilitator_verify)
    stack.push_async_callback(facilitator.close)
    return facilitator


def _seller(settings: Settings) -> AnySeller:
    reach = Reach.of(settings.allowed_http_hosts, settings.allowed_private_hosts)
    return AnySeller(
        HttpSeller(
            reach,
            body_limit_bytes=settings.body_limit_bytes,
            paid_body_limit_bytes=settings.paid_body_limit_bytes,
            timeout_s=settings.request_timeout_s,
        )
    )


@asynccontextmanager
async def webhooks_of(settings: Settings, ledger: PostgresLedger, vault: Vault) -> AsyncIterator[WebhookStep | None]:
    """The activity that sends webhooks; None without the library that signs them, which `autopay[api]` brings."""
    try:
        from autopay.adapters.webhooks.sender import WebhookSender, webhook_reach  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name != "standardwebhooks":
            raise
        yield None
        return
    sender = WebhookSender(webhook_reach(settings.allowed_private_hosts))
    try:
        yield WebhookStep(ledger.webhooks, ledger.events.listening, vault, sender)
    finally:
        await sender.close()


async def begin_adoption(client: Client, settings: Settings) -> None:
    """See that the schedule is there that adopts payments; what hinders it is logged, as payments go on without."""
    try:
        await schedule_adoption(client, settings.task_queue)
    except RPCError as error:
        log.warning("no schedule: payments whose workflow is gone are not adopted", error=error.message)


async def begin_webhooks(
    client: Client, settings: Settings, ledger: PostgresLedger, webhooks: WebhookStep | None
) -> None:
    """See that every endpoint of webhooks has its workflow; what hinders it is logged, as payments go on without."""
    try:
        endpoints = [each.endpoint_id for each in await ledger.webhooks.list() if each.disabled_at is None]
        if endpoints and webhooks is None:
            log.warning("webhooks are not sent: this worker lacks a library; pip install 'autopay[api]'")
            return
        await start_webhooks(client, settings.task_queue, endpoints)
    except (RPCError, TransientFault) as error:
        log.warning("webhooks are not begun by this worker", error=str(error))


def start(settings: Settings, alive: Path | None = None) -> None:
    """Work in this process until SIGTERM or SIGINT.

    Raises:
        Fault: what keeps it from that.
    """
    if alive is not None and not can_be_touched(alive):
        raise SettingsError(f"--alive: {alive} cannot be written: name a file in a folder that can")
    set_up_logging(settings.log_format, settings.log_level, known_secrets(settings))
    if (shown_at := open_telemetry(settings, "worker")) is not None:
        log.info("metrics are shown", url=shown_at)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    uvloop.run(run(settings, alive))


def main() -> int:
    """The exit code: 0 after a signal, 2 for a permanent fault, 6 when something does not answer, 1 for others."""
    match sys.argv[1:]:
        case []:
            alive = None
        case ["--alive", file]:
            alive = Path(file)
        case _:
            sys.stderr.write("usage: python worker.py [--alive FILE]\n")
            return 2
    CALL.set(own_call())
    try:
        start(Settings.load().resolve().for_work(), alive)
    except SettingsError as error:
        sys.stderr.write(f"worker: {error}\n")
        return 2
    except TransientFault as error:  # TemporalUnreachable is one
        sys.stderr.write(f"worker: {error}\n")
        return 6
    except PermanentFault as error:
        sys.stderr.write(f"worker: {error}\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"worker: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the SDK's threads can abort a normal interpreter exit, and the exit code would lie
