"""The least that a durable paid request costs: a bare workflow of the six steps, and an empty one.

Real 402, signature and settlement, sealed payloads, three pipelined transactions; no policy, audit chain or agent. It
is measured beside the product as the limit of what the product can reach on the same machine.
"""

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import psycopg
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import get_associated_token_address, transfer_checked
from spl.token.models import TransferCheckedParams
from temporalio import activity, workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from x402.http.utils import decode_payment_required_header, encode_payment_signature_header
from x402.schemas import PaymentPayload, PaymentRequired

from benchmarks.payments.figures import Speed
from benchmarks.payments.town import Town

STEP = timedelta(seconds=60)
FINAL = timedelta(seconds=13)
"""Until a transfer is final: 32 slots of 400 ms."""

TASK_QUEUE = "bare"
CONNECTIONS = 8
BLOCKHASH_S = 2
EVENT = b"x" * 300
TABLES = """
CREATE SCHEMA bare;
CREATE TABLE bare.payments (id text PRIMARY KEY, payment text, status text, body bytea);
CREATE TABLE bare.events (id bigserial PRIMARY KEY, payment text, body bytea);
CREATE TABLE bare.sessions (id int PRIMARY KEY, spent bigint, payments int, allowance bigint);
INSERT INTO bare.sessions VALUES (1, 0, 0, 1000000000);
"""
RESERVE = (
    "UPDATE bare.sessions SET spent = spent + %s, payments = payments + 1 WHERE id = 1 AND spent + %s <= allowance"
)
INSERT = "INSERT INTO bare.payments (id, payment, status) VALUES (%s, %s, 'PENDING')"
TELL = "INSERT INTO bare.events (payment, body) VALUES (%s, %s)"


@dataclass
class Steps:
    """The six steps, with what they need. `delivered` has a future for each payment under way."""

    http: httpx.AsyncClient
    payer: Keypair
    connections: asyncio.Queue[psycopg.AsyncConnection]
    blockhash: Hash = field(default_factory=Hash.default)
    delivered: dict[str, asyncio.Future[int]] = field(default_factory=dict)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """One transaction, its statements sent together."""
        connection = await self.connections.get()
        try:
            async with connection.pipeline(), connection.transaction():
                yield connection
        finally:
            self.connections.put_nowait(connection)

    @activity.defn
    async def fetch(self, url: str) -> str:
        """The offer."""
        answer = await self.http.get(url)
        return answer.headers["payment-required"]

    @activity.defn
    async def parse(self, header: str) -> dict[str, Any]:
        """What to pay."""
        offer = decode_payment_required_header(header)
        assert isinstance(offer, PaymentRequired)
        return offer.accepts[0].model_dump(by_alias=True)

    @activity.defn
    async def sign(self, key: str, offer: dict[str, Any]) -> None:
        """Reserve and record the signed payment."""
        payment = self._sign(offer)
        amount = int(offer["amount"])
        async with self.transaction() as db:
            await db.execute("SELECT pg_advisory_xact_lock(1)")
            await db.execute(RESERVE, (amount, amount))
            await db.execute(INSERT, (key, payment))
            await db.execute(TELL, (key, EVENT))

    @activity.defn
    async def submit(self, key: str, url: str) -> int:
        """Hand it over, and store what came."""
        connection = await self.connections.get()
        try:
            found = await (
                await connection.execute("SELECT payment FROM bare.payments WHERE id = %s", (key,))
            ).fetchone()
        finally:
            self.connections.put_nowait(connection)
        assert found is not None
        answer = await self.http.get(url, headers={"PAYMENT-SIGNATURE": found[0]})
        async with self.transaction() as db:
            await db.execute(
                "UPDATE bare.payments SET status = 'SUCCESS', body = %s WHERE id = %s", (answer.content, key)
            )
            await db.execute(TELL, (key, EVENT))
        self.delivered[key].set_result(answer.status_code)
        return answer.status_code

    @activity.defn
    async def verify(self, key: str) -> bool:
        """What a batch of signature statuses has found."""
        return key in self.delivered

    @activity.defn
    async def log(self, key: str) -> None:
        """Close it."""
        async with self.transaction() as db:
            await db.execute("UPDATE bare.payments SET status = 'VERIFIED' WHERE id = %s", (key,))
            await db.execute(TELL, (key, EVENT))

    def _sign(self, offer: dict[str, Any]) -> str:
        mint = Pubkey.from_string(offer["asset"])
        transfer = TransferCheckedParams(
            program_id=TOKEN_PROGRAM_ID,
            source=get_associated_token_address(self.payer.pubkey(), mint),
            mint=mint,
            dest=get_associated_token_address(Pubkey.from_string(offer["payTo"]), mint),
            owner=self.payer.pubkey(),
            amount=int(offer["amount"]),
            decimals=6,
            signers=[],
        )
        instructions = [
            set_compute_unit_limit(40_000),
            set_compute_unit_price(1),
            transfer_checked(transfer),
            Instruction(MEMO_PROGRAM_ID, os.urandom(16).hex().encode(), []),
        ]
        message = MessageV0.try_compile(
            Pubkey.from_string(offer["extra"]["feePayer"]), instructions, [], self.blockhash
        )
        signed = self.payer.sign_message(to_bytes_versioned(message))
        transaction = VersionedTransaction.populate(message, [Signature.default(), signed])
        inner = {"transaction": base64.b64encode(bytes(transaction)).decode()}
        payload = {"x402Version": 2, "accepted": offer, "payload": inner}
        return encode_payment_signature_header(PaymentPayload.model_validate(payload))

    async def refresh(self, rpc_url: str) -> None:
        """Ask for a fresh blockhash."""
        call = {"jsonrpc": "2.0", "id": 1, "method": "getLatestBlockhash"}
        answer = (await self.http.post(rpc_url, json=call)).json()
        self.blockhash = Hash.from_string(answer["result"]["value"]["blockhash"])

    async def keep_fresh(self, rpc_url: str) -> None:
        """Do that now and then, for ever."""
        while True:
            await asyncio.sleep(BLOCKHASH_S)
            await self.refresh(rpc_url)


@workflow.defn
class Bare:
    """Six steps, all local, or with a submit that the server schedules."""

    @workflow.run
    async def run(self, key: str, url: str, scheduled: bool) -> int:
        """The seller's status."""
        header = await workflow.execute_local_activity_method(Steps.fetch, url, start_to_close_timeout=STEP)
        offer = await workflow.execute_local_activity_method(Steps.parse, header, start_to_close_timeout=STEP)
        await workflow.execute_local_activity_method(Steps.sign, args=[key, offer], start_to_close_timeout=STEP)
        if scheduled:
            status = await workflow.execute_activity_method(Steps.submit, args=[key, url], start_to_close_timeout=STEP)
        else:
            status = await workflow.execute_local_activity_method(
                Steps.submit, args=[key, url], start_to_close_timeout=STEP
            )
        await workflow.sleep(FINAL)
        await workflow.execute_local_activity_method(Steps.verify, key, start_to_close_timeout=STEP)
        await workflow.execute_local_activity_method(Steps.log, key, start_to_close_timeout=STEP)
        return status


@workflow.defn
class Empty:
    """Nothing at all."""

    @workflow.run
    async def run(self) -> None:
        """Ends at once."""


class BareBuyer:
    """Runs bare payments and empty workflows, with the worker in this process."""

    def __init__(self, here: Town, steps: Steps) -> None:
        self._here = here
        self._steps = steps
        self._number = 0

    async def pay(self, delay_ms: int, *, scheduled: bool) -> float:
        """Seconds until the content is stored; the workflow goes on to finality by itself."""
        key = self._key("pay")
        delivered = self._steps.delivered[key] = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        args = [key, f"{self._here.sellers[delay_ms]}/data", scheduled]
        await self._here.client.start_workflow(
            Bare.run, args=args, id=key, task_queue=TASK_QUEUE, request_eager_start=True
        )
        if await delivered != 200:
            raise RuntimeError(f"the seller answered {delivered.result()}")
        return time.perf_counter() - began

    async def empty(self) -> float:
        """Seconds of an empty workflow, to its result."""
        began = time.perf_counter()
        await self._here.client.execute_workflow(
            Empty.run, id=self._key("empty"), task_queue=TASK_QUEUE, request_eager_start=True
        )
        return time.perf_counter() - began

    async def pay_all(self, delay_ms: int, at_once: int, count: int) -> Speed:
        """That many, so many at once."""
        return await timed(lambda: self.pay(delay_ms, scheduled=False), at_once, count)

    async def pay_all_scheduled(self, delay_ms: int, at_once: int, count: int) -> Speed:
        """The same with a submit that the server schedules."""
        return await timed(lambda: self.pay(delay_ms, scheduled=True), at_once, count)

    async def empty_all(self, at_once: int, count: int) -> Speed:
        """That many, so many at once."""
        return await timed(self.empty, at_once, count)

    def _key(self, kind: str) -> str:
        self._number += 1
        return f"bare-{kind}-{self._number}"


async def timed(one: Callable[[], Awaitable[float]], at_once: int, count: int) -> Speed:
    """Do it that often, so many at once."""
    slots = asyncio.Semaphore(at_once)

    async def in_turn() -> float:
        async with slots:
            return await one()

    began = time.perf_counter()
    tasks = [asyncio.ensure_future(in_turn()) for _ in range(count)]
    try:
        took = await asyncio.gather(*tasks)
    finally:  # when one fails, the others must not go on beside the next measurement
        for task in tasks:
            task.cancel()
    return Speed.of(took, time.perf_counter() - began)


@asynccontextmanager
async def bare_buyer(here: Town) -> AsyncIterator[BareBuyer]:
    """A worker for bare payments, warm."""
    url = here.addresses.database_url
    async with AsyncExitStack() as opened:
        connections: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()
        for _ in range(CONNECTIONS):
            connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
            opened.push_async_callback(connection.close)
            connections.put_nowait(connection)
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        http = await opened.enter_async_context(httpx.AsyncClient(timeout=120, limits=limits, trust_env=False))
        steps = Steps(http, here.payer, connections)
        for statement in filter(str.strip, TABLES.split(";")):
            await connection.execute(statement)
        await steps.refresh(here.addresses.solana_rpc)
        keeping = asyncio.create_task(steps.keep_fresh(here.addresses.solana_rpc))
        opened.callback(keeping.cancel)
        all_steps: list[Callable[..., Any]] = [
            steps.fetch,
            steps.parse,
            steps.sign,
            steps.submit,
            steps.verify,
            steps.log,
        ]
        worker = Worker(
            here.client,
            task_queue=TASK_QUEUE,
            workflows=[Bare, Empty],
            activities=all_steps,
            workflow_runner=UnsandboxedWorkflowRunner(),
            max_concurrent_workflow_tasks=100,
            max_concurrent_local_activities=100,
        )
        await opened.enter_async_context(worker)
        buyer = BareBuyer(here, steps)
        await buyer.empty()
        await buyer.pay(0, scheduled=False)
        yield buyer
