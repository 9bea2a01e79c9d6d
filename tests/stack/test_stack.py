"""The stack as a library, with workers, as tests and demonstrations use it."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from autopay.processes import start_time
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from localnet.child import StackError
from localnet.stack import Stack

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AUTOPAY_", "TEMPORAL_")):
            monkeypatch.delenv(name)


async def test_workers_are_started_killed_and_drained_while_another_stack_fails_and_then_runs_beside_it(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    stack = Stack(tmp_path / "home", slot_ms=50, workers=1, ephemeral=True, report=said.append)
    async with stack as addresses:
        settings = Settings.load(home=tmp_path / "home").resolve()
        assert settings.database_url == addresses.database_url
        assert stack.names == ["postgres", "temporal", "chain", "facilitator", "sellers", "codec", "worker-1"]
        first = stack.pid("worker-1")
        await stack.kill("worker-1")
        added, _ = await asyncio.gather(stack.start_workers(1), beside(tmp_path, addresses))
        assert added == ["worker-2"]
        deadline = time.monotonic() + PATIENCE_S
        while "worker-1 is back" not in said:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert stack.pid("worker-1") != first

        pids = [stack.pid(name) for name in ("worker-1", "worker-2")]
        await stack.stop_workers()
        assert [pid for pid in pids if start_time(pid) is not None] == []
        assert await stack.start_workers(1) == ["worker-1"]
        pids = [stack.pid(name) for name in stack.names]
    assert [pid for pid in pids if start_time(pid) is not None] == []


async def beside(folder: Path, one: StackFile) -> None:
    """A second stack on the first one's home is refused. On a home of its own it says which part does not start, and
    leaves nothing running; with that mended, it runs."""
    with pytest.raises(StackError, match="already running"):
        await Stack(folder / "home", ephemeral=True).start()
    home = folder / "two"
    home.mkdir()
    (home / "temporal.db").write_text("this is no database")
    stack = Stack(home, ephemeral=True)
    with pytest.raises(StackError, match=r"temporal did not start \(exit 1\): .*; its log: .*temporal.log; "):
        await stack.start()
    assert not (home / "stack.json").exists()
    (home / "temporal.db").unlink()
    async with stack as two:
        assert one.solana_rpc != two.solana_rpc
