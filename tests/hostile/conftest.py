"""One ledger and one town for all ways; the trials of those that this run asks for, all at once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from psycopg import sql

from localnet.postgres.server import EmbeddedPostgres
from tests.hostile.town import Outcome, Town
from tests.hostile.way import Way
from tests.hostile.ways.all import WAYS

AT_ONCE = 8
"""Few, so that a payment is settled while its blockhash lives; ways that wait for its death hold no place."""

TRIAL_S = 180
"""A payment that never finds its end is a failure, not a hang."""

DATABASE = sql.Identifier("hostile")

Trials = dict[str, asyncio.Task[Outcome]]


@pytest.fixture(scope="session")
def hostile_database_url(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A migrated database that all ways share, each with its own agent."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(DATABASE, sql.Identifier(template)))
    yield postgres.url("hostile")
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(DATABASE))


@pytest.fixture(scope="session")
async def town(tmp_path_factory: pytest.TempPathFactory, hostile_database_url: str) -> AsyncIterator[Town]:
    """Chain, facilitator, ledger and the buyer's adapters."""
    async with Town(tmp_path_factory.mktemp("town"), hostile_database_url, WAYS) as town:
        yield town


@pytest.fixture(scope="session")
async def trials(request: pytest.FixtureRequest, town: Town) -> AsyncIterator[Trials]:
    """A trial of each way that this run asks for, by its name; most of their time is waiting."""
    parameters = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = [each["way"] for each in parameters if isinstance(each.get("way"), Way)]
    slots = asyncio.Semaphore(AT_ONCE)

    async def trial(way: Way) -> Outcome:
        async with contextlib.nullcontext() if way.waits else slots, asyncio.timeout(TRIAL_S):
            return await town.try_way(way)

    tasks = {str(way): asyncio.create_task(trial(way)) for way in wanted}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)
