"""Reads the accounts of SPL Token and Token-2022."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

ReadAccount = Callable[[Pubkey], Account | None]
"""Finds an account of the chain by its address."""

TOKEN_PROGRAMS = {TOKEN_PROGRAM_ID: "spl-token", TOKEN_2022_PROGRAM_ID: "spl-token-2022"}

_MINT_SIZE, _ACCOUNT_SIZE, _MULTISIG_SIZE = 82, 165, 355
_TYPE_AT = 165  # Token-2022 writes the kind of an extended account behind the 165 bytes
_TYPE_MINT, _TYPE_ACCOUNT = 1, 2
STATES = {1: "initialized", 2: "frozen"}


@dataclass(frozen=True, slots=True)
class TokenHolding:
    """A token account; amounts in base units."""

    program: Pubkey
    mint: Pubkey
    owner: Pubkey
    amount: int
    delegate: Pubkey | None
    delegated_amount: int
    state: str
    native_reserve: int | None
    close_authority: Pubkey | None


@dataclass(frozen=True, slots=True)
class MintState:
    """A mint; the supply in base units."""

    program: Pubkey
    mint_authority: Pubkey | None
    supply: int
    decimals: int
    freeze_authority: Pubkey | None


def read_holding(account: Account | None) -> TokenHolding | None:
    """The token account in an account, None when it is not an initialised one."""
    if account is None or account.owner not in TOKEN_PROGRAMS:
        return None
    data = account.data
    if not _is_kind(data, _ACCOUNT_SIZE, _TYPE_ACCOUNT) or data[108] not in STATES:
        return None
    reserve = data[113:121] if data[109] else None
    return TokenHolding(
        program=account.owner,
        mint=Pubkey(data[0:32]),
        owner=Pubkey(data[32:64]),
        amount=int.from_bytes(data[64:72], "little"),
        delegate=_optional_key(data, 72),
        delegated_amount=int.from_bytes(data[121:129], "little"),
        state=STATES[data[108]],
        native_reserve=int.from_bytes(reserve, "little") if reserve is not None else None,
        close_authority=_optional_key(data, 129),
    )


def read_mint(account: Account | None) -> MintState | None:
    """The mint in an account, None when it is not an initialised one."""
    if account is None or account.owner not in TOKEN_PROGRAMS:
        return None
    data = account.data
    if not _is_kind(data, _MINT_SIZE, _TYPE_MINT) or not data[45]:
        return None
    return MintState(
        program=account.owner,
        mint_authority=_optional_key(data, 0),
        supply=int.from_bytes(data[36:44], "little"),
        decimals=data[44],
        freeze_authority=_optional_key(data, 46),
    )


def extensions(account: Account) -> Iterator[tuple[int, bytes]]:
    """The Token-2022 extensions of a mint or token account: number and bytes of each."""
    data, at = account.data, _TYPE_AT + 1
    while at + 4 <= len(data):
        kind, size = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")
        if kind == 0:
            return
        yield kind, data[at + 4 : at + 4 + size]
        at += 4 + size


def ui_amount(amount_atomic: int, decimals: int) -> dict[str, Any]:
    """An amount as RPC answers show it; `uiAmount` is a float and may be inexact."""
    exact = Decimal(amount_atomic).scaleb(-decimals)
    text = f"{exact:f}"
    return {
        "amount": str(amount_atomic),
        "decimals": decimals,
        "uiAmount": float(exact),
        "uiAmountString": text.rstrip("0").rstrip(".") if "." in text else text,
    }


def _is_kind(data: bytes, size: int, kind: int) -> bool:
    if len(data) == size:
        return True
    return len(data) > _TYPE_AT and len(data) != _MULTISIG_SIZE and data[_TYPE_AT] == kind


def _optional_key(data: bytes, at: int) -> Pubkey | None:
    return Pubkey(data[at + 4 : at + 36]) if data[at] else None
