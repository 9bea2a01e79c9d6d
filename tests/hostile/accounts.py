"""Accounts as they lie on chain, written before the first block: mints of every kind, and token accounts with money.

What must not live here: who owns them (`scene`).
"""

import contextlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from solders.account import Account
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from localnet.chain.app import FILE_NAME
from localnet.chain.bank import Bank
from localnet.chain.genesis import USDC_MINT
from localnet.chain.store import Store

RENT = 10_000_000
"""Lamports; more than any account here needs."""

MINT_TYPE = b"\x01"
TRANSFER_FEE, NON_TRANSFERABLE, TRANSFER_HOOK, PAUSABLE = 1, 9, 14, 26


@dataclass(frozen=True)
class Mint:
    """A mint: its address, its program, and what lies in its account; no data for one that genesis has, or nobody.

    `held_by` is who owns the mint's account, when that is not the program of its token accounts.
    """

    address: Pubkey
    program: Pubkey = TOKEN_2022_PROGRAM_ID
    data: bytes = b""
    held_by: Pubkey | None = None


USDC = Mint(USDC_MINT, TOKEN_PROGRAM_ID)


def mint_data(decimals: int = 6, extensions: Mapping[int, bytes] | None = None) -> bytes:
    """A mint without authorities; with extensions, in the layout of Token-2022."""
    base = struct.pack("<I32sQB?I32s", 0, bytes(32), 10**15, decimals, True, 0, bytes(32))
    if not extensions:
        return base
    tail = b"".join(struct.pack("<HH", kind, len(value)) + value for kind, value in extensions.items())
    return base.ljust(165, b"\0") + MINT_TYPE + tail


def fee_config(older: int, newer: int) -> bytes:
    """A TransferFeeConfig of so many basis points in the older and the newer epoch."""
    fees = b"".join(struct.pack("<QQH", epoch, 2**64 - 1, points) for epoch, points in ((0, older), (1, newer)))
    return bytes(72) + fees


def token_account(
    mint: Mint,
    owner: Pubkey,
    amount_atomic: int = 0,
    *,
    delegate: Pubkey | None = None,
    delegated_atomic: int = 0,
    frozen: bool = False,
) -> Account:
    """A token account, with its delegate if it has one."""
    data = struct.pack(
        "<32s32sQI32sBIQQI32s",
        bytes(mint.address),
        bytes(owner),
        amount_atomic,
        int(delegate is not None),
        bytes(delegate or Pubkey.default()),
        2 if frozen else 1,
        0,
        0,
        delegated_atomic,
        0,
        bytes(32),
    )
    return Account(RENT, data, mint.program)


def wallet(lamports: int) -> Account:
    """SOL in a wallet."""
    return Account(lamports, b"", Pubkey.default())


def begin_chain(home: Path, accounts: Mapping[Pubkey, Account]) -> None:
    """A chain in `home` that has these accounts from its beginning, for a node that is started there next."""
    with contextlib.closing(Store(home / FILE_NAME)) as store:
        Bank(store)
        store.begin_chain([], accounts)
