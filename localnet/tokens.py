"""Keys, SOL, token accounts and fresh tokens on the embedded chain, by real transactions through its RPC."""

import asyncio
import json
import os
import secrets
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.instructions import (
    create_idempotent_associated_token_account,
    get_associated_token_address,
    mint_to,
)
from spl.token.models import MintToParams

from autopay.adapters.solana.answers import U64, Answer, AsOfSlot, SignatureText
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.owner.key_file import read_key_file
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.errors import ChainUnavailable, PermanentFault, TransientFault
from autopay.domain.network import Network
from localnet.chain.genesis import MINT_AUTHORITY

T = TypeVar("T")

LAMPORTS_PER_SOL = 1_000_000_000
POLL_SECONDS = 0.02
ONE_BY_ONE = 1
"""A question is put once: whoever waits here asks again by itself, and an airdrop must not be made twice."""


class KeyFileDamaged(PermanentFault):
    """A key that the embedded stack keeps cannot be read."""


class TokenError(TransientFault):
    """The embedded chain refused or did not confirm a set-up transaction."""


def load_or_create_keypair(path: Path) -> Keypair:
    """The key kept in `path` in the Solana CLI's format; made on first use, readable by its owner only."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            json.dump(list(bytes(Keypair())), file)
        try:
            path.hardlink_to(draft)  # whole or not at all; who comes second reads the first one's key
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    try:
        return read_key_file(path)
    except ValueError as error:
        raise KeyFileDamaged(f"{path} {error}") from None


async def wait_for_chain(rpc_url: str, timeout_s: float = 60) -> None:
    """Return once the RPC answers; `TokenError` after `timeout_s`."""
    async with _node(rpc_url) as rpc:

        async def answers() -> bool:
            try:
                await SolanaChain(rpc).latest_blockhash()
            except TransientFault:
                return False
            return True

        await _until(answers, f"no answer from {rpc_url}", timeout_s)


async def patiently(work: Callable[[], Awaitable[T]], timeout_s: float = 60) -> T:
    """Do the work again until the RPC lets it through: a chain under bad weather is no reason to give up a start."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await work()
        except ChainUnavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)


async def ensure_sol(rpc_url: str, owner: Pubkey, lamports: int = 10 * LAMPORTS_PER_SOL) -> None:
    """Airdrop `lamports` to `owner` unless it holds half of that, and wait until it is confirmed."""
    async with _node(rpc_url) as rpc:
        await _ensure_sol(rpc, owner, lamports)


async def airdrop(rpc_url: str, owner: Pubkey, lamports: int) -> None:
    """Give `owner` that much more SOL; confirmed on return."""
    async with _node(rpc_url) as rpc:
        await _confirm(rpc, await rpc.ask("requestAirdrop", str(owner), lamports, answer=Answer[SignatureText]))


async def is_token_account(rpc_url: str, address: Pubkey) -> bool:
    """Whether the address is an account of a token program, and no wallet."""
    async with _node(rpc_url) as rpc:
        return await _program(rpc, address) in (TOKEN_PROGRAM_ID, TOKEN_2022_PROGRAM_ID)


async def open_token_accounts(rpc_url: str, payer: Keypair, owner: Pubkey, mints: Sequence[Pubkey]) -> list[Pubkey]:
    """The associated token accounts of `owner`, one a mint; those not there are created at the cost of `payer`."""
    async with _node(rpc_url) as rpc:
        wanted = [(mint, await _token_program(rpc, mint)) for mint in mints]
        accounts = [get_associated_token_address(owner, mint, program) for mint, program in wanted]
        create = [
            create_idempotent_associated_token_account(payer.pubkey(), owner, mint, program)
            for (mint, program), account in zip(wanted, accounts, strict=True)
            if await _program(rpc, account) is None
        ]
        if create:
            await _send(rpc, payer, create)
        return accounts


async def faucet(rpc_url: str, owner: Pubkey, mint: Pubkey, amount_atomic: int) -> Pubkey:
    """Mint `amount_atomic` base units of `mint` to the associated token account of `owner`, which is returned.

    Works for SPL Token and Token-2022 mints whose authority is the embedded chain's; confirmed on return.
    """
    async with _node(rpc_url) as rpc:
        authority = MINT_AUTHORITY.pubkey()
        await _ensure_sol(rpc, authority, 100 * LAMPORTS_PER_SOL)
        program = await _token_program(rpc, mint)
        account = get_associated_token_address(owner, mint, program)
        create = create_idempotent_associated_token_account(authority, owner, mint, program)
        await _send(rpc, MINT_AUTHORITY, [create, _mint_to(program, mint, account, amount_atomic)])
        return account


async def mint_to_account(rpc_url: str, account: Pubkey, mint: Pubkey, amount_atomic: int) -> None:
    """Mint `amount_atomic` base units of `mint` to any token account, where `faucet` takes the associated one."""
    async with _node(rpc_url) as rpc:
        authority = MINT_AUTHORITY.pubkey()
        await _ensure_sol(rpc, authority, 100 * LAMPORTS_PER_SOL)
        program = await _token_program(rpc, mint)
        await _send(rpc, MINT_AUTHORITY, [_mint_to(program, mint, account, amount_atomic)])


def _node(rpc_url: str) -> NodeRpc:
    return NodeRpc(rpc_url, Network.DEVNET, tries=ONE_BY_ONE)  # whose genesis hash the embedded chain has


async def _ensure_sol(rpc: NodeRpc, owner: Pubkey, lamports: int) -> None:
    async def has_enough() -> bool:
        question = ("getBalance", str(owner), {"commitment": "confirmed"})
        return (await rpc.ask(*question, answer=Answer[AsOfSlot[U64]])).value >= lamports // 2

    if not await has_enough():
        await rpc.ask("requestAirdrop", str(owner), lamports, answer=Answer[SignatureText])
        await _until(has_enough, f"the airdrop to {owner} did not arrive")


def _mint_to(program: Pubkey, mint: Pubkey, account: Pubkey, amount_atomic: int) -> Instruction:
    authority = MINT_AUTHORITY.pubkey()
    return mint_to(
        MintToParams(program_id=program, mint=mint, dest=account, mint_authority=authority, amount=amount_atomic)
    )


async def _program(rpc: NodeRpc, address: Pubkey) -> Pubkey | None:
    """The program that the account belongs to; None when there is no such account."""
    account = (await SolanaChain(rpc).account(str(address))).value
    return None if account is None else Pubkey.from_string(account.owner)


async def _token_program(rpc: NodeRpc, mint: Pubkey) -> Pubkey:
    program = await _program(rpc, mint)
    if program is None:
        raise TokenError(f"no mint {mint} on this chain")
    return program


async def _send(rpc: NodeRpc, payer: Keypair, instructions: Sequence[Instruction]) -> None:
    # Two equal transactions under one blockhash are one transaction: the nonce keeps them apart.
    nonce = Instruction(MEMO_PROGRAM_ID, secrets.token_hex(8).encode(), [])
    blockhash = Hash.from_string((await SolanaChain(rpc).latest_blockhash()).blockhash)
    message = MessageV0.try_compile(payer.pubkey(), [*instructions, nonce], [], blockhash)
    wire = b64encode(bytes(VersionedTransaction(message, [payer]))).decode()
    config = {"encoding": "base64", "preflightCommitment": "confirmed"}
    await _confirm(rpc, await rpc.ask("sendTransaction", wire, config, answer=Answer[SignatureText]))


async def _confirm(rpc: NodeRpc, signature: str) -> None:
    async def confirmed() -> bool:
        status = await SolanaChain(rpc).status(signature)
        if status is not None and status.err is not None:
            raise TokenError(f"{signature} failed: {status.err}")
        return status is not None

    await _until(confirmed, f"{signature} was not confirmed")


async def _until(condition: Callable[[], Awaitable[bool]], complaint: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            raise TokenError(f"{complaint} within {timeout_s:g} s")
        await asyncio.sleep(POLL_SECONDS)
