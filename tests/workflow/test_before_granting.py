"""Temporal and the database are asked before money is granted on chain; what they lack is named, with what makes it."""

import asyncio
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

import worker
from autopay.adapters.vault import Keyring
from autopay.cli.app import run
from autopay.settings import Settings
from autopay.temporal.attributes import ALL
from autopay.temporal.connection import AttributesMissing, connect
from tests.field.odd_node import OddNode, proper

TEMPORAL = shutil.which("temporal", path=str(Path(sys.executable).parent))


@pytest.fixture(autouse=True)
def _clean(no_settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOPAY_KEYRING", Keyring.generate().dump())


@pytest.fixture
async def bare_temporal(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A development server without our search attributes; its address."""
    started = await WorkflowEnvironment.start_local(dev_server_existing_path=TEMPORAL, dev_server_log_level="error")
    async with started as running:
        address = running.client.service_client.config.target_host
        monkeypatch.setenv("TEMPORAL_ADDRESS", address)
        yield address


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OddNode]:
    async with OddNode(proper).open() as node:
        monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", node.url)
        yield node


GRANTS = (["launch", "trader", "--phase", "full"], ["session", "grant", "trader"])


async def test_a_temporal_without_our_search_attributes_is_named_with_the_command_that_makes_them(
    bare_temporal: str,
    node: OddNode,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", database_url)
    for command in GRANTS:
        assert await asyncio.to_thread(run, command) == 2
        said = capsys.readouterr().err
        assert "Temporal lacks search attributes" in said
        assert all(key.name in said for key in ALL)
    with pytest.raises(AttributesMissing):
        await worker.run(Settings.load().resolve())
    assert node.answered == 0
    _, _, make = said.partition("make them: ")
    _, *arguments = shlex.split(make)
    made = await asyncio.create_subprocess_exec(str(TEMPORAL), *arguments, "--address", bare_temporal)
    assert await made.wait() == 0
    async with asyncio.timeout(20):
        while True:
            try:
                await connect(Settings.load())
            except AttributesMissing:
                await asyncio.sleep(0.1)
            else:
                break


@pytest.mark.parametrize("command", GRANTS, ids=" ".join)
async def test_a_database_of_another_schema_is_named_before_anything_is_granted(
    command: list[str],
    node: OddNode,
    empty_database_url: str,
    env: WorkflowEnvironment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", empty_database_url)
    monkeypatch.setenv("TEMPORAL_ADDRESS", env.client.service_client.config.target_host)
    assert await asyncio.to_thread(run, command) == 2
    assert "db upgrade" in capsys.readouterr().err
    assert node.answered == 0


@pytest.mark.parametrize("command", GRANTS, ids=" ".join)
async def test_a_temporal_that_is_away_is_named_before_anything_is_granted(
    command: list[str],
    node: OddNode,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", database_url)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    assert await asyncio.to_thread(run, command) == 6
    assert "Temporal does not answer" in capsys.readouterr().err
    assert node.answered == 0
