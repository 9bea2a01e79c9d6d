"""`starter.py up` as a process: second starts, signals, kill -9, taken ports."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from temporalio.client import Client

from autopay.adapters.postgres import open_ledger
from autopay.domain.phase import Phase
from autopay.processes import start_time
from localnet.ports import PORTS_FILE
from tests.stack.up import PATIENCE_S, Up, starter


@pytest.fixture(scope="module")
async def common_up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """A started `up`, which each test leaves running."""
    command = Up(tmp_path_factory.mktemp("up") / "home", page=True)
    await command.start()
    yield command
    await command.end(signal.SIGINT)


async def test_the_page_and_the_api_are_the_first_addresses_and_both_answer(common_up: Up) -> None:
    assert list(common_up.addresses)[:2] == ["page", "api"]
    async with httpx.AsyncClient(trust_env=False) as http:
        agents = await http.get(f"{common_up.addresses['api']}/agents")
        assert (agents.status_code, agents.json()["items"], agents.json()["problem"]) == (200, [], None)
        page = await http.get(common_up.addresses["page"])
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def slot(rpc_url: str) -> int:
    """The chain's processed slot."""
    question = {"jsonrpc": "2.0", "id": 1, "method": "getSlot", "params": [{"commitment": "processed"}]}
    async with httpx.AsyncClient(trust_env=False) as client:
        return int((await client.post(rpc_url, json=question)).json()["result"])


async def until_gone(pids: list[int]) -> None:
    """Wait until none of these processes lives."""
    deadline = time.monotonic() + PATIENCE_S
    while any(start_time(pid) is not None for pid in pids):
        assert time.monotonic() < deadline, f"still there: {pids}"
        await asyncio.sleep(0.05)


async def remember(addresses: dict[str, str]) -> None:
    """Leave something in the ledger and in Temporal."""
    ledger = open_ledger(addresses["database_url"])
    await ledger.agents.create("kept", Phase.FULL, "wallet")
    await ledger.dispose()
    client = await Client.connect(addresses["temporal"])
    await client.start_workflow("Nothing", id="kept", task_queue="nobody")


async def assert_remembered(addresses: dict[str, str]) -> None:
    ledger = open_ledger(addresses["database_url"])
    assert (await ledger.agents.get("kept")).wallet_address == "wallet"
    await ledger.dispose()
    client = await Client.connect(addresses["temporal"])
    assert (await client.get_workflow_handle("kept").describe()).id == "kept"


async def test_a_second_up_on_the_same_home_says_so_and_exits_1(common_up: Up) -> None:
    code, out, err = await starter("up", "--home", str(common_up.home))
    assert (code, out) == (1, "")
    assert f"is already running (pid {common_up.process.pid})" in err
    assert await slot(common_up.addresses["solana_rpc"]) >= 0


async def test_the_keyring_and_the_addresses_are_readable_by_their_owner_only(common_up: Up) -> None:
    for name in ("keyring", "stack.json"):
        assert os.stat(common_up.home / name).st_mode & 0o777 == 0o600


async def test_after_kill_9_nothing_lives_on_but_what_cannot_hear_and_the_next_up_ends_that_and_has_all_its_data(
    common_up: Up,
) -> None:
    await remember(common_up.addresses)
    before, at = common_up.addresses, await slot(common_up.addresses["solana_rpc"])
    pids = common_up.pids()
    assert len(pids) == 7
    left = pids.pop("temporal")
    os.kill(left, signal.SIGSTOP)  # it cannot follow the order to end with its parent
    assert await common_up.end(signal.SIGKILL) == -signal.SIGKILL
    await until_gone(list(pids.values()))
    assert start_time(left) is not None
    assert await common_up.start() == before
    assert start_time(left) is None
    assert "ended what an earlier stack left running: temporal" in common_up.errors.read_text()
    await assert_remembered(common_up.addresses)
    assert await slot(common_up.addresses["solana_rpc"]) >= at


async def test_a_signal_stops_every_part_and_at_the_next_start_a_taken_port_is_replaced_and_its_owner_left_alone(
    common_up: Up,
) -> None:
    pids = list(common_up.pids().values())
    ports = json.loads((common_up.home / PORTS_FILE).read_text())
    assert await common_up.end(signal.SIGINT) == 0
    assert [pid for pid in pids if start_time(pid) is not None] == []
    code, _, err = await starter("weather", "--home", str(common_up.home))
    assert code == 6
    assert "no embedded stack runs" in err
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", ports["chain"]))
        other.listen()
        addresses = await common_up.start()
    assert addresses["solana_rpc"] != f"http://127.0.0.1:{ports['chain']}"
    assert addresses["temporal"] == f"127.0.0.1:{ports['temporal']}"
    assert await slot(addresses["solana_rpc"]) >= 0
