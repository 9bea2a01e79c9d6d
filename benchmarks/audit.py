"""What the chain of events costs: `python -m benchmarks.audit`.

Payments recorded for one agent by one writer, and for eight by eight, each a transaction of its own, on an embedded
PostgreSQL with real durability; in a ledger of a few events and in one of 100,000; with the chain, and without any
trigger (foreign keys too). The cases take turns, so that what else the machine does is shared out fairly. Then how
fast `ledger verify` walks. It prints a Markdown table.
"""

import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from uuid import UUID, uuid4

import psycopg

from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.maintenance import migrations
from autopay.domain.audit.ledger_check import LedgerCheck
from localnet.postgres.server import EmbeddedPostgres

AGENTS = 8
TURNS, TURN_S = 8, 1.0
OLD = 100_000
BATCH = 200

AGENT = "INSERT INTO agents (id, name, autonomy_phase, wallet_address) VALUES (%s, %s, 'DEMO', '')"
PAYMENT = (
    "INSERT INTO transactions (id, agent_id, amount, currency, status, x402_request_id, network) "
    "VALUES (%s, %s, 0.001, 'USDC', 'FAILED', %s, 'DEVNET')"
)


@contextmanager
def ledgers() -> Iterator[tuple[str, str]]:
    """The URLs of two migrated databases of one server."""
    with tempfile.TemporaryDirectory(prefix="autopay-bench-") as directory:
        postgres = EmbeddedPostgres(Path(directory) / "data", database="young")
        postgres.start()
        with psycopg.connect(postgres.url("young"), autocommit=True) as db:
            db.execute("CREATE DATABASE old")
        urls = postgres.url("young"), postgres.url("old")
        for url in urls:
            migrations.upgrade(url)
        yield urls
        postgres.stop()


def agents_of(url: str) -> list[UUID]:
    """New agents, one event each."""
    agents = [uuid4() for _ in range(AGENTS)]
    with psycopg.connect(url) as db:
        for agent in agents:
            db.execute(AGENT, [agent, agent.hex])
    return agents


def grow(url: str, agents: Sequence[UUID]) -> None:
    """Fill the ledger, in transactions of many payments."""
    with psycopg.connect(url) as db:
        db.execute("SET synchronous_commit = off")
        for number in range(OLD // BATCH):
            agent = agents[number % len(agents)]
            rows = [(uuid4(), agent, f"{number}/{each}") for each in range(BATCH)]
            db.cursor().executemany(PAYMENT, rows)
            db.commit()
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("VACUUM ANALYZE")


async def written(url: str, agents: Sequence[UUID], *, chained: bool) -> int:
    """Changes in one turn, all agents together."""
    deadline = time.monotonic() + TURN_S

    async def write(agent: UUID) -> int:
        count = 0
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as db:
            if not chained:
                await db.execute("SET session_replication_role = replica")
            while time.monotonic() < deadline:
                await db.execute(PAYMENT, [uuid4(), agent, uuid4().hex])
                count += 1
        return count

    return sum(await asyncio.gather(*(write(agent) for agent in agents)))


async def walks(url: str) -> tuple[int, float]:
    """Events, and how many of them a second a whole check takes in, rows and all."""
    ledger = open_ledger(url)
    started = time.monotonic()
    async with ledger.audit.snapshot() as snapshot:
        run = LedgerCheck(snapshot)
        await run.run()
    await ledger.dispose()
    return run.events, run.events / (time.monotonic() - started)


async def measured(young: str, old: str) -> list[str]:
    """The table's lines."""
    agents = {url: agents_of(url) for url in (young, old)}
    unchained = {url: agents_of(url) for url in (young, old)}
    await asyncio.to_thread(grow, old, agents[old])
    counts: Counter[tuple[str, int, bool]] = Counter()
    for _ in range(TURNS):
        for case in product((young, old), (1, AGENTS), (True, False)):
            url, writers, chained = case
            who = (agents if chained else unchained)[url][:writers]
            counts[case] += await written(url, who, chained=chained)
    lines = ["| ledger | writers | payments/s with the chain | without any trigger |", "|---|---|---|---|"]
    for (url, name), writers in product(((young, "young"), (old, f"{OLD:,} events")), (1, AGENTS)):
        with_chain, bare = (counts[url, writers, each] / TURNS / TURN_S for each in (True, False))
        lines.append(f"| {name} | {writers} | {with_chain:,.0f} | {bare:,.0f} |")
    events, speed = await walks(old)
    return [*lines, "", f"`ledger verify` takes in {speed:,.0f} events a second ({events:,} events, their rows)."]


def main() -> None:
    """Print it."""
    with ledgers() as (young, old):
        for line in asyncio.run(measured(young, old)):
            sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
