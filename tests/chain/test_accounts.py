"""Accounts and tokens, read in every form and at every commitment."""

import base64
import json

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Commitment, Confirmed, Finalized, Processed
from solana.rpc.models import TokenAccountOpts
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.instructions import approve_checked
from spl.token.models import ApproveCheckedParams

from localnet.chain.genesis import CASH_MINT, DECIMALS, FAUCET, MINT_AUTHORITY, USDC_MINT
from tests.chain.conftest import USDC
from tests.chain.node import ChainNode, eventually
from tests.chain.wallet import SOL, Token, Wallets


async def test_an_airdrop_is_processed_at_once_and_final_later(
    rpc: AsyncClient, standing_node: ChainNode, wallets: Wallets
) -> None:
    wallet = Keypair().pubkey()
    signature = (await rpc.request_airdrop(wallet, SOL)).value
    assert (await rpc.get_balance(wallet, Processed)).value == SOL
    assert (await rpc.get_balance(wallet, Finalized)).value == 0
    await standing_node.weather()
    await wallets.wait(signature, "finalized")
    assert (await rpc.get_balance(wallet, Finalized)).value == SOL


async def test_two_equal_airdrops_are_two_transactions(rpc: AsyncClient) -> None:
    wallet = Keypair().pubkey()
    signatures = {(await rpc.request_airdrop(wallet, SOL)).value for _ in range(2)}
    assert len(signatures) == 2
    assert (await rpc.get_balance(wallet, Processed)).value == 2 * SOL


async def test_an_airdrop_beyond_the_faucet_is_refused(node: ChainNode) -> None:
    error = await node.error("requestAirdrop", str(Keypair().pubkey()), 2**62)
    assert error["code"] == -32603


async def test_the_keys_of_genesis_hold_sol(rpc: AsyncClient) -> None:
    for key in (FAUCET, MINT_AUTHORITY):
        assert (await rpc.get_balance(key.pubkey())).value > SOL


async def test_the_mints_have_devnets_address_and_six_decimals(rpc: AsyncClient) -> None:
    accounts = (await rpc.get_multiple_accounts([USDC_MINT, CASH_MINT])).value
    assert [each.owner for each in accounts if each] == [TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID]
    assert str(USDC_MINT) == "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"
    for mint in (USDC_MINT, CASH_MINT):
        assert (await rpc.get_token_supply(mint)).value.decimals == DECIMALS


async def test_cash_carries_its_name(node: ChainNode) -> None:
    answer = await node.result("getAccountInfo", str(CASH_MINT), {"encoding": "jsonParsed"})
    info = answer["value"]["data"]["parsed"]["info"]
    pointer, metadata = info["extensions"]
    assert pointer["state"]["metadataAddress"] == str(CASH_MINT)
    assert metadata["state"]["symbol"] == "CASH"


async def test_a_token_account_can_be_read_in_every_form(
    rpc: AsyncClient, node: ChainNode, wallets: Wallets, token: Token
) -> None:
    owner = Keypair().pubkey()
    account = await wallets.fund(token, owner, 1_500_000)
    balance = (await rpc.get_token_account_balance(account, Processed)).value
    assert (balance.amount, balance.ui_amount, balance.ui_amount_string) == ("1500000", 1.5, "1.5")
    shown = await node.result("getAccountInfo", str(account), {"encoding": "jsonParsed", "commitment": "processed"})
    info = shown["value"]["data"]["parsed"]["info"]
    assert (info["owner"], info["mint"], info["state"]) == (str(owner), str(token.mint), "initialized")
    assert info["tokenAmount"]["amount"] == "1500000"
    sliced = await node.result(
        "getAccountInfo",
        str(account),
        {"encoding": "base64", "commitment": "processed", "dataSlice": {"offset": 32, "length": 32}},
    )
    assert base64.b64decode(sliced["value"]["data"][0]) == bytes(owner)
    several = await node.result("getMultipleAccounts", [str(account)], {"commitment": "processed"})
    assert several["value"][0]["data"][1] == "base64"
    error = await node.error("getAccountInfo", str(account), {"commitment": "processed", "encoding": None})
    assert (error["code"], "base 58" in error["message"]) == (-32600, True)


async def test_a_wallets_token_accounts_are_listed_by_mint_and_by_program(
    rpc: AsyncClient, wallets: Wallets, token: Token
) -> None:
    owner = Keypair().pubkey()
    account = await wallets.fund(token, owner, 1)
    other = Pubkey.default()
    for wanted in (TokenAccountOpts(mint=token.mint), TokenAccountOpts(program_id=token.program)):
        found = (await rpc.get_token_accounts_by_owner(owner, wanted, Processed)).value
        assert [each.pubkey for each in found] == [account]
        parsed = (await rpc.get_token_accounts_by_owner_json_parsed(owner, wanted, Processed)).value
        info = json.loads(parsed[0].to_json())["account"]["data"]["parsed"]["info"]
        assert (info["owner"], info["tokenAmount"]["uiAmountString"]) == (str(owner), "0.000001")
        assert not (await rpc.get_token_accounts_by_owner(other, wanted, Processed)).value


async def test_a_delegate_finds_the_account_it_may_pay_from(rpc: AsyncClient, wallets: Wallets) -> None:
    owner, delegate = await wallets.rich(), Keypair().pubkey()
    account = await wallets.fund(USDC, owner.pubkey(), 10)
    approve = approve_checked(
        ApproveCheckedParams(
            program_id=USDC.program, source=account, mint=USDC.mint, delegate=delegate,
            owner=owner.pubkey(), amount=5, decimals=DECIMALS,
        )
    )  # fmt: skip
    await wallets.send([approve], owner)
    wanted = TokenAccountOpts(mint=USDC.mint)
    found = (await rpc.get_token_accounts_by_delegate(delegate, wanted, Processed)).value
    assert [each.pubkey for each in found] == [account]


async def test_what_is_no_token_is_said_to_be_none(node: ChainNode) -> None:
    wallet, mint = str(MINT_AUTHORITY.pubkey()), str(USDC_MINT)
    nobody = str(Keypair().pubkey())
    for method, address, message in (
        ("getTokenAccountBalance", nobody, "could not find account"),
        ("getTokenAccountBalance", wallet, "not a Token account"),
        ("getTokenAccountBalance", mint, "not a Token account"),
        ("getTokenSupply", wallet, "not a Token mint"),
    ):
        error = await node.error(method, address)
        assert (error["code"], error["message"]) == (-32602, f"Invalid param: {message}")
    error = await node.error("getTokenAccountsByOwner", wallet, {"mint": nobody})
    assert error["message"] == "Invalid param: could not find mint"
    error = await node.error("getTokenAccountsByOwner", wallet, {"programId": nobody})
    assert error["message"] == "Invalid param: unrecognized Token program id"


async def test_no_account_is_null_and_too_many_are_refused(node: ChainNode) -> None:
    nobody = str(Keypair().pubkey())
    assert (await node.result("getAccountInfo", nobody))["value"] is None
    assert (await node.result("getMultipleAccounts", [nobody, nobody]))["value"] == [None, None]
    assert (await node.error("getMultipleAccounts", [nobody] * 101))["code"] == -32602
    assert (await node.error("getAccountInfo", nobody, {"encoding": "base64+zstd"}))["code"] == -32602


@pytest.mark.parametrize("size", [0, 82, 165, 170])
async def test_rent_is_a_clusters(rpc: AsyncClient, size: int) -> None:
    assert (await rpc.get_minimum_balance_for_rent_exemption(size)).value == (size + 128) * 6_960


async def test_a_balance_is_read_as_of_its_commitment(
    rpc: AsyncClient, node: ChainNode, wallets: Wallets, token: Token
) -> None:
    """A reader at finalized sees the old balance until the payment is final, at a slot that it may ask for."""
    owner = Keypair().pubkey()
    account = await wallets.fund(token, owner, 100)

    async def read(commitment: Commitment) -> str:
        return (await rpc.get_token_account_balance(account, commitment)).value.amount

    async def exists() -> bool:
        return (await rpc.get_account_info(account, Finalized)).value is not None

    await eventually(exists)
    await node.weather(stand_still=True)
    await wallets.fund(token, owner, 50)
    assert [await read(each) for each in (Processed, Confirmed, Finalized)] == ["150", "100", "100"]
    slot = await node.result("getSlot", {"commitment": "processed"})
    await node.weather()

    async def caught_up() -> bool:
        return await read(Finalized) == "150"

    await eventually(caught_up)
    asked = {"commitment": "finalized", "minContextSlot": slot, "encoding": "base64"}
    assert (await node.result("getAccountInfo", str(account), asked))["context"]["slot"] >= slot
