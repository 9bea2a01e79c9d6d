"""Reads Token-2022 extensions: what makes a mint unusable for exact payments, and how long its accounts are.

Layout: the base account padded to 165 bytes, one byte of account type, then type (u16), length (u16) and value of
each extension, little-endian (spl-token-2022, extension/mod.rs).
"""

from collections.abc import Iterator

from spl.token.constants import ACCOUNT_LEN, MINT_LEN

TRANSFER_FEE_AMOUNT = 2
TRANSFER_FEE_CONFIG, NON_TRANSFERABLE, TRANSFER_HOOK, PAUSABLE = 1, 9, 14, 26

_ON_ACCOUNT = {TRANSFER_FEE_CONFIG: 8, NON_TRANSFERABLE: 0, TRANSFER_HOOK: 1, PAUSABLE: 0}
"""Bytes of the extension that an account must carry for each of the mint's."""


def mint_problem(data: bytes) -> str | None:
    """Why an exact amount cannot be paid in this mint; None when it can. Mere presence of an extension is fine."""
    for kind, value in _extensions(data):
        if kind == TRANSFER_FEE_CONFIG and _takes_fee(value):
            return "the mint takes a transfer fee"
        if kind == TRANSFER_HOOK and any(value[32:64]):
            return "the mint has a transfer hook"
        if kind == PAUSABLE and value[32:33] != b"\x00":
            return "the mint is paused"
        if kind == NON_TRANSFERABLE:
            return "the mint's tokens cannot be transferred"
    return None


def account_length(mint_data: bytes) -> int:
    """Bytes that a token account of this mint needs."""
    needed = [_ON_ACCOUNT[kind] for kind, _ in _extensions(mint_data) if kind in _ON_ACCOUNT]
    return ACCOUNT_LEN + 1 + sum(4 + size for size in needed) if needed else ACCOUNT_LEN


def withheld_atomic(account_data: bytes) -> int:
    """Transfer fees that a token account holds for its mint: it cannot be closed while there are any."""
    for kind, value in _extensions(account_data):
        if kind == TRANSFER_FEE_AMOUNT:
            return int.from_bytes(value[:8], "little")
    return 0


def _takes_fee(value: bytes) -> bool:
    """Basis points of the older and the newer fee: either may be in force, by epoch."""
    return any(int.from_bytes(value[at : at + 2], "little") for at in (88, 106))


def _extensions(data: bytes) -> Iterator[tuple[int, bytes]]:
    if len(data) <= MINT_LEN:
        return
    at = ACCOUNT_LEN + 1
    while at + 4 <= len(data):
        kind, length = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")
        if kind == 0:
            return
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length
