"""How long the page and the API take, asked in process.

Numbers that are kept for some seconds are read anew in the first run only, which is why it is told beside the median of
the others.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Iterator, Sequence

import httpx

from autopay.adapters.vault import Keyring
from autopay.api.app import create_app
from autopay.api.services import open_services
from autopay.settings import Settings

NOWHERE = "127.0.0.1:1"
RUNS = 5
PATHS = (
    "/",
    "/flow",
    "/payments",
    "/agents",
    "/spend",
    "/sellers",
    "/approvals",
    "/disputes",
    "/sessions",
    "/audit",
    "/api/agents",
    "/api/transactions",
    "/api/requests",
    "/api/balances",
    "/api/audit",
    "/api/spend?by=day",
    "/api/spend?by=seller",
    "/api/spend?by=endpoint",
    "/api/disputes",
    "/api/approvals",
    "/api/sellers",
)


Row = tuple[str, float, float, int]
"""A path; milliseconds of the first time and the median of the next; bytes of the answer."""


def ledger_alone(database_url: str) -> Sequence[Row]:
    """All paths over this ledger, with Temporal and the chain away: what reading it and writing the answers take."""
    os.environ["TEMPORAL_ADDRESS"] = NOWHERE
    settings = Settings.load(
        database_url=database_url, keyring=Keyring.generate().dump(), solana_rpc_url=f"http://{NOWHERE}"
    ).resolve()
    return asyncio.run(asked(settings, PATHS))


def told(rows: Sequence[Row]) -> Iterator[str]:
    """The report's lines."""
    yield f"The application in process; ms: the first time, and the median of {RUNS} more."
    yield ""
    yield "| path | first | then | bytes |"
    yield "|---|--:|--:|--:|"
    for path, first, then, size in rows:
        yield f"| `{path}` | {first:.0f} | {then:.0f} | {size:,} |"


async def asked(settings: Settings, paths: Sequence[str]) -> Sequence[Row]:
    """Ask for each path some times."""
    async with open_services(settings) as services:
        transport = httpx.ASGITransport(services.access.gate(create_app(services)))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=600) as client:
            return [await _asked_for(client, path) for path in paths]


async def _asked_for(client: httpx.AsyncClient, path: str) -> Row:
    times, size = [], 0
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        answer = await client.get(path)
        times.append((time.perf_counter() - began) * 1000)
        answer.raise_for_status()
        size = len(answer.content)
    return path, times[0], statistics.median(times[1:]), size
