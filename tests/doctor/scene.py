"""A place where everything is well, as settings, database, Temporal and node; a test breaks one thing of it."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from solders.pubkey import Pubkey
from temporalio.api.deployment.v1 import WorkerDeploymentOptions
from temporalio.api.enums.v1 import WorkerVersioningMode
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollActivityTaskQueueRequest, PollWorkflowTaskQueueRequest
from temporalio.client import Client
from websockets.asyncio.server import ServerConnection, serve

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.vault import Keyring
from autopay.cli.doctor.checks import CHECKS
from autopay.cli.doctor.parts import Parts, open_parts
from autopay.cli.doctor.results import CheckResult
from autopay.cli.doctor.running import run_checks
from autopay.database_url import parse_database_url
from autopay.settings import Settings
from autopay.temporal.pollers import pollers, worker_identity
from localnet.chain.genesis import CASH_MINT, USDC_MINT
from localnet.postgres.server import EmbeddedPostgres
from tests.chain.node import eventually
from tests.field.odd_node import OddNode, http, proper
from tests.ledger.books import new_session
from workflows.policies import WAITS

KEYRING = Keyring.generate()
OWNER, DELEGATE, ACCOUNT = (str(Pubkey(bytes([number] * 32))) for number in (1, 2, 3))
SESSION = UUID(int=7)
ALLOWANCE, PATIENCE_S = 1_000_000, 30
DEPLOYMENT = "autopay"


def token_account(
    *, delegate: str | None = DELEGATE, delegated: int = ALLOWANCE, amount: int = ALLOWANCE, state: int = 1
) -> dict[str, Any]:
    """The session's account as a node gives it out (SPL Token, state.rs)."""
    option = bytes([1, 0, 0, 0]) + bytes(Pubkey.from_string(delegate)) if delegate else bytes(36)
    head = bytes(USDC_MINT) + bytes(Pubkey.from_string(OWNER)) + amount.to_bytes(8, "little") + option
    return _account(
        head + bytes([state]) + bytes(12) + (delegated if delegate else 0).to_bytes(8, "little") + bytes(36)
    )


def mint(decimals: int = 6) -> dict[str, Any]:
    """A mint."""
    return _account(bytes(44) + bytes([decimals, 1]) + bytes(36))


def _account(data: bytes) -> dict[str, Any]:
    program = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
    encoded = [b64encode(data).decode(), "base64"]
    return {"data": encoded, "executable": False, "lamports": 2_039_280, "owner": program, "space": len(data)}


@dataclass
class Scene:
    """What the checks look at.

    `variables` are those of the environment; `answers` and `refusals` change what the node says to a method, `accounts`
    which accounts it has, and after `most_questions` it answers none. `change` is called with the parts once they are
    open.
    """

    postgres: EmbeddedPostgres
    database_url: str
    monkeypatch: pytest.MonkeyPatch
    folder: Path
    temporal: str
    queue: str
    node_url: str = ""
    ws_url: str = ""
    answers: dict[str, Any] = field(default_factory=dict)
    refusals: dict[str, bytes] = field(default_factory=dict)
    accounts: dict[str, Any] = field(default_factory=dict)
    most_questions: int = 1_000
    variables: dict[str, str] = field(default_factory=dict)
    change: Callable[[Parts], None] = lambda _: None
    polling: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def database(self) -> str:
        """The database's name."""
        return str(parse_database_url(self.database_url).database)

    def set(self, **variables: str) -> None:
        """Set variables of the environment."""
        self.variables |= variables

    def sql(self, statement: str) -> None:
        """Execute it as the owner of everything."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(statement.encode())

    async def session(self, **changes: object) -> None:
        """Give the agent `buyer` a session that pays."""
        async with self.ledger() as ledger:
            await ledger.agents.create("buyer")
            values = {"mint": str(USDC_MINT), "source_account": ACCOUNT, "owner": OWNER, "authority": DELEGATE}
            session = new_session(SESSION, **values | {"allowance_atomic": ALLOWANCE} | changes)
            await ledger.sessions.create(session)

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[PostgresLedger]:
        """The ledger, to write in it."""
        ledger = open_ledger(self.database_url)
        try:
            yield ledger
        finally:
            await ledger.dispose()

    async def poll(self, identity: str = "", build: str = "", *, waits: bool = True) -> None:
        """Ask Temporal for work, as a worker does, until the test ends."""
        client = await Client.connect(self.temporal)
        name = identity or worker_identity()
        options = WorkerDeploymentOptions()
        if build:
            versioned = WorkerVersioningMode.WORKER_VERSIONING_MODE_VERSIONED
            options = WorkerDeploymentOptions(
                deployment_name=DEPLOYMENT, build_id=build, worker_versioning_mode=versioned
            )
        common: dict[str, Any] = {"namespace": client.namespace, "identity": name, "deployment_options": options}
        service, queue = client.workflow_service, TaskQueue(name=self.queue)
        ask = [
            service.poll_workflow_task_queue(PollWorkflowTaskQueueRequest(task_queue=queue, **common)),
            service.poll_activity_task_queue(PollActivityTaskQueueRequest(task_queue=queue, **common)),
        ]
        if waits:
            idle = PollActivityTaskQueueRequest(task_queue=TaskQueue(name=self.queue + WAITS), **common)
            ask.append(service.poll_activity_task_queue(idle))
        self.polling += [asyncio.ensure_future(each) for each in ask]

        async def are_known() -> bool:
            queues = [(self.queue, "workflow"), (self.queue, "activity"), *([(self.queue + WAITS, "activity")] * waits)]
            known = [await pollers(client, which, kind) for which, kind in queues]  # type: ignore[arg-type]
            return all(any(each.identity == name for each in found) for found in known)

        await eventually(are_known, PATIENCE_S)

    async def look(self, *names: str) -> dict[str, CheckResult]:
        """What the checks of these names say, with those that they need."""
        for name, value in self.variables.items():
            self.monkeypatch.setenv(name, value)
        loaded = Settings.load()
        async with open_parts(loaded.resolve("home").for_work(), loaded) as parts:
            self.change(parts)
            return {each.name: each for each in await run_checks(_with_needs(set(names)), parts)}

    def answer(self, question: dict[str, Any], honest: Any) -> bytes:
        """The node's answer."""
        method, params = question["method"], question["params"]
        self.most_questions -= 1
        if self.most_questions < 0:
            return http("", "429 Too Many Requests")
        if method in self.refusals:
            return self.refusals[method]
        if method in self.answers:
            return proper(question, self.answers[method])
        if method == "getAccountInfo":
            known = {str(USDC_MINT): mint(), str(CASH_MINT): mint(), ACCOUNT: token_account()} | self.accounts
            return proper(question, {"context": {"slot": 1_000}, "value": known.get(params[0])})
        return proper(question, HEALTHY[method]() if method in HEALTHY else honest)


HEALTHY: dict[str, Callable[[], Any]] = {
    "getFirstAvailableBlock": lambda: 0,
    "getBlockTime": lambda: int(time.time()),
}


def refusal(code: int, message: str) -> bytes:
    """An error of JSON-RPC."""
    return http(f'{{"jsonrpc": "2.0", "id": 1, "error": {{"code": {code}, "message": "{message}"}}}}')


def _with_needs(names: set[str]) -> list[Any]:
    wanted = set(names)
    while more := {need for each in CHECKS if each.name in wanted for need in each.needs} - wanted:
        wanted |= more
    return [each for each in CHECKS if each.name in wanted]


async def takes_subscriptions(socket: ServerConnection) -> None:
    """A node's WebSocket."""
    async for _ in socket:
        await socket.send('{"jsonrpc": "2.0", "id": 1, "result": 5}')


@asynccontextmanager
async def open_scene(scene: Scene) -> AsyncIterator[Scene]:
    """The scene with its node running and its variables set."""
    async with (
        OddNode(scene.answer, spares_genesis=False).open() as node,
        serve(takes_subscriptions, "127.0.0.1", 0) as ws,
    ):
        scene.node_url = node.url
        scene.ws_url = f"ws://127.0.0.1:{next(iter(ws.sockets)).getsockname()[1]}"
        scene.set(
            AUTOPAY_HOME=str(scene.folder / "home"),
            AUTOPAY_DATABASE_URL=scene.database_url,
            AUTOPAY_SOLANA_RPC_URL=scene.node_url,
            AUTOPAY_SOLANA_WS_URL=scene.ws_url,
            AUTOPAY_CASH_MINT=str(CASH_MINT),
            AUTOPAY_KEYRING=KEYRING.dump(),
            AUTOPAY_TASK_QUEUE=scene.queue,
            TEMPORAL_ADDRESS=scene.temporal,
        )
        try:
            yield scene
        finally:
            for each in scene.polling:
                each.cancel()
            await asyncio.gather(*scene.polling, return_exceptions=True)
