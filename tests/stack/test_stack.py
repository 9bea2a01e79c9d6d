"""The stack as a library, with workers, as tests and demonstrations use it."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from autopay.processes import start_time
from autopay.settings import Settings
from localnet.child import StackError
from localnet.stack import Stack

PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AUTOPAY_", "TEMPORAL_")):
            monkeypatch.delenv(name)


async def test_workers_are_started_killed_and_drained(tmp_path: Path) -> None:
    said: list[str] = []
    stack = Stack(tmp_path / "home", slot_ms=50, workers=1, ephemeral=True, report=said.append)
    async with stack as addresses:
        settings = Settings.load(home=tmp_path / "home").resolve()
        assert settings.database_url == addresses.database_url
        assert stack.names == ["postgres", "temporal", "chain", "facilitator", "sellers", "codec", "worker-1"]

        assert await stack.start_workers(1) == ["worker-2"]
        first = stack.pid("worker-1")
        await stack.kill("worker-1")
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


async def test_two_stacks_on_one_home_are_refused_and_on_two_homes_run_side_by_side(tmp_path: Path) -> None:
    async with Stack(tmp_path / "one", ephemeral=True) as one:
        with pytest.raises(StackError, match="already running"):
            await Stack(tmp_path / "one", ephemeral=True).start()
        async with Stack(tmp_path / "two", ephemeral=True) as two:
            assert one.solana_rpc != two.solana_rpc


async def test_a_part_that_cannot_start_leaves_nothing_running(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "temporal.db").write_text("this is no database")
    stack = Stack(home, ephemeral=True)
    with pytest.raises(StackError, match=r"temporal did not start \(exit 1\): .*; its log: .*temporal.log; "):
        await stack.start()
    assert not (home / "stack.json").exists()
    (home / "temporal.db").unlink()
    async with stack:
        assert (home / "stack.json").exists()
