"""`ledger follow` and `ledger export` as processes, as they are used in pipes and stopped by Ctrl-C."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from autopay.adapters.postgres import PostgresLedger
from tests.stack.up import PATIENCE_S, STARTER, clean_environment


@asynccontextmanager
async def command(url: str, *arguments: str) -> AsyncIterator[Process]:
    """A command that runs beside the test, and is ended with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(STARTER), *arguments, stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
        env=clean_environment() | {"AUTOPAY_DATABASE_URL": url},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    """Its next line on stdout."""
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
    if not line:
        assert process.stderr is not None
        raise AssertionError((await process.stderr.read()).decode())
    return line.decode().rstrip("\n")


async def end(process: Process, number: signal.Signals) -> tuple[int | None, str]:
    """Its exit code and its stderr after the signal."""
    process.send_signal(number)
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    return process.returncode, err.decode()


async def test_follow_prints_what_is_committed_until_ctrl_c(ledger: PostgresLedger, database_url: str) -> None:
    await ledger.agents.create("first")
    async with command(database_url, "ledger", "follow", "--json", "--since", "start") as process:
        first = json.loads(await line_of(process))
        assert (first["agent"], first["kind"]) == ("first", "agents.created")
        await ledger.agents.create("second")
        assert json.loads(await line_of(process))["agent"] == "second"
        code, err = await end(process, signal.SIGINT)
    assert (code, "Traceback" in err) == (130, False)
    async with command(database_url, "ledger", "follow", "--since", first["cursor"]) as process:
        assert (await line_of(process)).split()[1:] == ["second", "agent", "created,", "second"]


async def test_a_reader_that_has_seen_enough_is_no_error(ledger: PostgresLedger, database_url: str) -> None:
    await ledger.agents.create("first")
    async with command(database_url, "ledger", "follow", "--tail", "1") as process:
        await line_of(process)
        process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]  # as `| head -1` does
        await ledger.agents.set_wallet("first", "another")
        assert process.stderr is not None
        err = await asyncio.wait_for(process.stderr.read(), PATIENCE_S)
        assert (await process.wait(), err) == (0, b"")
