"""Keys, SOL and tokens for tests and demonstrations, on the real chain."""

import asyncio
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from autopay.domain.errors import ChainUnavailable
from localnet.chain.genesis import CASH_MINT, USDC_MINT
from localnet.tokens import (
    LAMPORTS_PER_SOL,
    TokenError,
    airdrop,
    ensure_sol,
    faucet,
    is_token_account,
    load_or_create_keypair,
    open_token_accounts,
    patiently,
    wait_for_chain,
)
from tests.localnet.buyer import token_account
from tests.localnet.stack import Stack, free_port


def test_a_key_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "new" / "key.json"
    keypair = load_or_create_keypair(file)
    assert load_or_create_keypair(file) == keypair
    assert json.loads(file.read_text()) == list(bytes(keypair))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_many_who_make_the_same_key_at_once_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(load_or_create_keypair, [tmp_path / "key.json"] * 64))
    assert len(keys) == 1


@pytest.mark.parametrize("mint", [USDC_MINT, CASH_MINT], ids=["USDC", "CASH"])
async def test_the_faucet_mints_to_the_associated_account_every_time_it_is_asked(stack: Stack, mint: Pubkey) -> None:
    owner = Keypair().pubkey()
    for _ in range(3):
        account = await faucet(stack.rpc_url, owner, mint, 5)
    assert str(account) == token_account(str(owner), mint)
    assert await stack.balance(account) == 15


async def test_sol_is_airdropped_only_to_who_lacks_it(stack: Stack) -> None:
    owner = Keypair().pubkey()
    for lamports in (2 * LAMPORTS_PER_SOL, 3 * LAMPORTS_PER_SOL):
        await ensure_sol(stack.rpc_url, owner, lamports)
    async with AsyncClient(stack.rpc_url) as rpc:
        assert (await rpc.get_balance(owner, Confirmed)).value == 2 * LAMPORTS_PER_SOL


async def test_token_accounts_are_opened_once(stack: Stack) -> None:
    payer = Keypair()
    await ensure_sol(stack.rpc_url, payer.pubkey())
    async with AsyncClient(stack.rpc_url) as rpc:
        first = await open_token_accounts(stack.rpc_url, payer, payer.pubkey(), [USDC_MINT])
        both = await open_token_accounts(stack.rpc_url, payer, payer.pubkey(), [USDC_MINT, CASH_MINT])
        left = (await rpc.get_balance(payer.pubkey(), Confirmed)).value
        assert both == await open_token_accounts(stack.rpc_url, payer, payer.pubkey(), [USDC_MINT, CASH_MINT])
        assert (await rpc.get_balance(payer.pubkey(), Confirmed)).value == left
    assert both[0] == first[0]
    assert [await stack.balance(account) for account in both] == [0, 0]


async def test_a_mint_that_does_not_exist_is_an_error(stack: Stack) -> None:
    with pytest.raises(TokenError, match="no mint"):
        await faucet(stack.rpc_url, Keypair().pubkey(), Keypair().pubkey(), 1)


async def test_a_chain_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(TokenError, match="no answer"):
        await wait_for_chain(f"http://127.0.0.1:{free_port()}", timeout_s=0.1)


async def test_an_airdrop_adds_to_what_is_there(stack: Stack) -> None:
    owner = Keypair().pubkey()
    for _ in range(2):
        await airdrop(stack.rpc_url, owner, LAMPORTS_PER_SOL)
    async with AsyncClient(stack.rpc_url) as rpc:
        assert (await rpc.get_balance(owner, Confirmed)).value == 2 * LAMPORTS_PER_SOL


async def test_a_wallet_is_told_from_its_token_accounts(stack: Stack) -> None:
    owner = Keypair().pubkey()
    accounts = [await faucet(stack.rpc_url, owner, mint, 0) for mint in (USDC_MINT, CASH_MINT)]
    assert [await is_token_account(stack.rpc_url, each) for each in (owner, *accounts)] == [False, True, True]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("", id="nothing"),
        pytest.param("<html>busy</html>", id="html"),
        pytest.param('{"jsonrpc": "2.0", "id": 1, "error": "slow down"}', id="text-for-an-error"),
        pytest.param('{"jsonrpc": "2.0", "id": 1, "error": {"code": 429, "message": "slow down"}}', id="unknown-code"),
        pytest.param('{"jsonrpc": "2.0", "id": 1, "result": {"value": "much"}}', id="another-type"),
        pytest.param('[{"jsonrpc": "2.0", "id": 1}]', id="a-list"),
    ],
)
async def test_a_nodes_odd_answer_is_a_chain_that_is_away_for_now(body: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    owner = Keypair().pubkey()
    async with server:
        for ask in (
            partial(ensure_sol, url, owner),
            partial(airdrop, url, owner, 1),
            partial(is_token_account, url, owner),
        ):
            with pytest.raises(ChainUnavailable):
                await ask()
        with pytest.raises(ChainUnavailable):
            await patiently(partial(ensure_sol, url, owner), timeout_s=0.1)
