"""What one paid request asks of everything around it, counted: HTTP, RPC, SQL, WAL, history, CPU.

A worker of its own stands behind proxies that count; what the machine does when nothing is bought is taken off.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
from sqlalchemy import text
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from autopay.domain.request import agent_workflow_id, payment_workflow_id
from benchmarks.machine import cost_of
from benchmarks.payments.database_proxy import DatabaseCalls, database_proxy
from benchmarks.payments.figures import Count
from benchmarks.payments.node_proxy import node_proxy
from benchmarks.payments.ours import AgentBuyer, agent_buyer
from benchmarks.payments.town import AGENT, Town, tell
from localnet.programs import WORKER_READY

IDLE_S = 10
READY_S = 60
FINAL_S = 120
SITUATIONS = {
    "one at a time": ("/data", 1, 40),
    "32 at once": ("/data", 32, 200),
    "the paid answer is lost once": ("/data?fault=lost", 8, 24),
    "the seller is busy once": ("/data?fault=busy", 8, 24),
}
"""What is asked for, how many at once, and how many in all."""

ACTIONS = frozenset(
    {
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
        EventType.EVENT_TYPE_TIMER_STARTED,
        EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,
        EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
        EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,
        EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW,
    }
)
"""Events that are a billable action each (docs.temporal.io/cloud/actions); the local activities of one workflow task
are one action together."""


@dataclass
class Meters:
    """Everything that counts, and the process id of the worker behind the proxies."""

    database: DatabaseCalls = field(default_factory=DatabaseCalls)
    node: Counter[str] = field(default_factory=Counter)
    worker: int = 0


@dataclass(frozen=True)
class Reading:
    """All meters at one moment. CPU in seconds, WAL in bytes."""

    statements: int
    round_trips: int
    transactions: int
    notifies: int
    pings: int
    rpc_calls: int
    http: int
    wal_bytes: int
    cpu_worker_s: float
    cpu_temporal_s: float
    cpu_postgres_s: float
    agent_events: int
    at_s: float


async def count_all(here: Town, scale: float, found: list[Count]) -> None:
    """Every situation's counts, for one request each; those of each situation are added to `found` as they come."""
    await here.stack.stop_workers()
    async with metered_worker(here) as meters, agent_buyer(here) as buyer:
        await _bought_and_final(here, buyer, f"{here.sellers[0]}/data", 1, 3)
        idle = await _idle(here, meters)
        for situation, (path, at_once, count) in SITUATIONS.items():
            tell(f"counting: {situation} ...")
            many = max(at_once, round(count * scale))
            before = await _read(here, meters)
            ids = await _bought_and_final(here, buyer, here.sellers[0] + path, at_once, many)
            after = await _read(here, meters)
            found += [Count(what, value, situation) for what, value in _per_request(before, after, idle, many)]
            found += [Count(what, value, situation) for what, value in await _of_histories(here, ids)]


def _per_request(before: Reading, after: Reading, idle: Reading, count: int) -> Iterable[tuple[str, float]]:
    """The difference for one request, without what the same time costs when nothing is bought."""
    took = after.at_s - before.at_s

    def each(name: str, *, less_idle: bool = False) -> float:
        value = getattr(after, name) - getattr(before, name)
        if less_idle:
            value -= getattr(idle, name) * took / idle.at_s
        return float(value) / count

    yield "HTTP exchanges with the seller", round(each("http"), 1)
    yield "RPC calls", round(each("rpc_calls", less_idle=True), 2)
    for name in ("transactions", "statements", "round_trips"):
        yield f"SQL {name.replace('_', ' ')}", round(each(name, less_idle=True), 1)
    yield "NOTIFY", round(each("notifies"), 2)
    yield "pings of a pooled connection", round(each("pings", less_idle=True), 1)
    yield "WAL, kB", round(each("wal_bytes") / 1000, 1)
    yield "CPU of the worker, ms", round(each("cpu_worker_s", less_idle=True) * 1000, 1)
    yield "CPU of Temporal, ms", round(each("cpu_temporal_s", less_idle=True) * 1000, 1)
    yield "CPU of PostgreSQL, ms", round(each("cpu_postgres_s", less_idle=True) * 1000, 1)
    yield "events of the agent's history", round(each("agent_events"), 1)


async def _of_histories(here: Town, ids: list[str]) -> list[tuple[str, float]]:
    """Events, bytes and billable actions of the payments' own histories, in the mean of some."""
    sample = ids[:: max(1, len(ids) // 10)][:10]
    events = size = actions = 0
    for request_id in sample:
        handle = here.client.get_workflow_handle(payment_workflow_id(AGENT, request_id))
        history = (await handle.fetch_history()).events
        info = (await handle.describe()).raw_description.workflow_execution_info
        events += len(history)
        size += info.history_size_bytes
        actions += _actions(history)
    count = len(sample)
    return [
        ("events of the payment's history", round(events / count, 1)),
        ("kB of the payment's history", round(size / count / 1000, 1)),
        ("billable actions of the payment", round(actions / count, 1)),
    ]


def _actions(history: Iterable[HistoryEvent]) -> int:
    """Billable actions of a history; markers of one workflow task are one."""
    actions, of_tasks = 0, set[int]()
    for event in history:
        actions += event.event_type in ACTIONS
        if event.event_type == EventType.EVENT_TYPE_MARKER_RECORDED:
            of_tasks.add(event.marker_recorded_event_attributes.workflow_task_completed_event_id)
    return actions + len(of_tasks)


async def _bought_and_final(here: Town, buyer: AgentBuyer, url: str, at_once: int, count: int) -> list[str]:
    """Buy, and wait until each has ended in the ledger and in Temporal."""
    begin = len(buyer.bought)
    await buyer.buy_all(url, at_once, count)
    ids = buyer.bought[begin:]
    async with asyncio.timeout(FINAL_S):
        for request_id in ids:
            await here.client.get_workflow_handle(payment_workflow_id(AGENT, request_id)).result()
    return ids


async def _idle(here: Town, meters: Meters) -> Reading:
    """What `IDLE_S` seconds cost in which nothing is bought."""
    before = await _read(here, meters)
    await asyncio.sleep(IDLE_S)
    after = await _read(here, meters)
    values = {name: getattr(after, name) - getattr(before, name) for name in Reading.__dataclass_fields__}
    return Reading(**values)


async def _read(here: Town, meters: Meters) -> Reading:
    async with here.ledger.database.engine.connect() as db:
        wal = await db.scalar(text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"))
    agent = agent_workflow_id(AGENT)
    runs = {each.run_id: each.history_length async for each in here.client.list_workflows(f"WorkflowId = '{agent}'")}
    newest = await here.client.get_workflow_handle(agent).describe()
    runs[newest.run_id] = newest.history_length
    async with httpx.AsyncClient(trust_env=False) as http:
        counts = (await http.get(f"{here.sellers[0]}/counts")).json()
    calls = meters.database
    return Reading(
        statements=calls.statements,
        round_trips=calls.round_trips,
        transactions=calls.transactions,
        notifies=calls.notifies,
        pings=calls.pings,
        rpc_calls=meters.node.total(),
        http=sum(counts.values()),
        wal_bytes=int(wal or 0),
        cpu_worker_s=cost_of(meters.worker).cpu_s,
        cpu_temporal_s=cost_of(here.stack.pid("temporal")).cpu_s,
        cpu_postgres_s=cost_of(here.stack.pid("postgres")).cpu_s,
        agent_events=sum(runs.values()),
        at_s=asyncio.get_running_loop().time(),
    )


@asynccontextmanager
async def metered_worker(here: Town) -> AsyncIterator[Meters]:
    """A worker whose database and node are reached through proxies that count."""
    meters = Meters()
    work = urlsplit(here.addresses.work_url)
    place = {name: values[0] for name, values in parse_qs(work.query).items()}
    socket = str(Path(place["host"]) / f".s.PGSQL.{place['port']}")
    async with (
        database_proxy(socket, meters.database) as port,
        node_proxy(here.addresses.solana_rpc, meters.node) as node_url,
    ):
        environment = {
            **os.environ,
            "AUTOPAY_HOME": str(here.home),
            "AUTOPAY_DATABASE_URL": f"postgresql://{work.username}@127.0.0.1:{port}{work.path}",
            "AUTOPAY_SOLANA_RPC_URL": node_url,
            "AUTOPAY_SOLANA_WS_URL": here.addresses.solana_ws,
        }
        root = Path(__file__).parents[2]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "worker.py", cwd=root, env=environment, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        assert process.stdout is not None
        async with asyncio.timeout(READY_S):
            while WORKER_READY not in (line := (await process.stdout.readline()).decode()):
                if not line:
                    raise RuntimeError("the worker did not start")
        reading = asyncio.create_task(_drain(process.stdout))
        meters.worker = process.pid
        try:
            yield meters
        finally:
            process.terminate()
            await process.wait()
            await reading


async def _drain(lines: asyncio.StreamReader) -> None:
    while await lines.readline():
        pass
