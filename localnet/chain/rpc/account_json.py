"""Accounts as RPC answers show them."""

import base64
from typing import Any

import base58
from solders.account import Account
from solders.pubkey import Pubkey

from localnet.chain.rpc.params import DataSlice, not_for_base58
from localnet.chain.token_state import (
    TOKEN_PROGRAMS,
    MintState,
    ReadAccount,
    TokenHolding,
    extensions,
    read_holding,
    read_mint,
    ui_amount,
)

_RENT_EPOCH = 2**64 - 1  # what rent-exempt accounts have on a cluster
_MAX_BASE58 = 128
_EXTENSION_NAMES = {7: "immutableOwner", 18: "metadataPointer", 19: "tokenMetadata"}


def show_account(
    account: Account | None, encoding: str, read: ReadAccount, part: DataSlice | None = None
) -> dict[str, Any] | None:
    """The UI form of an account; `read` finds the mint of a token account that is to be parsed."""
    if account is None:
        return None
    return {
        "lamports": account.lamports,
        "owner": str(account.owner),
        "data": _show_data(account, encoding, read, part),
        "executable": account.executable,
        "rentEpoch": _RENT_EPOCH,
        "space": len(account.data),
    }


def _show_data(account: Account, encoding: str, read: ReadAccount, part: DataSlice | None) -> Any:
    if encoding == "jsonParsed" and (parsed := _parse(account, read)) is not None:
        return {"program": TOKEN_PROGRAMS[account.owner], "parsed": parsed, "space": len(account.data)}
    data = account.data if part is None else account.data[part.offset : part.offset + part.length]
    if encoding in ("base64", "jsonParsed"):
        return [base64.b64encode(data).decode(), "base64"]
    if len(data) > _MAX_BASE58:
        raise not_for_base58()
    text = base58.b58encode(data).decode()
    return text if encoding == "binary" else [text, "base58"]


def _parse(account: Account, read: ReadAccount) -> dict[str, Any] | None:
    holding = read_holding(account)
    mint = read_mint(read(holding.mint) if holding else account)
    if mint is None:
        return None
    info = _holding_info(holding, mint) if holding else _mint_info(mint)
    if TOKEN_PROGRAMS[account.owner] == "spl-token-2022" and (shown := _extensions(account)):
        info["extensions"] = shown
    return {"type": "account" if holding else "mint", "info": info}


def _holding_info(holding: TokenHolding, mint: MintState) -> dict[str, Any]:
    info: dict[str, Any] = {
        "mint": str(holding.mint),
        "owner": str(holding.owner),
        "tokenAmount": ui_amount(holding.amount, mint.decimals),
        "state": holding.state,
        "isNative": holding.native_reserve is not None,
    }
    if holding.delegate is not None:
        info["delegate"] = str(holding.delegate)
        info["delegatedAmount"] = ui_amount(holding.delegated_amount, mint.decimals)
    if holding.native_reserve is not None:
        info["rentExemptReserve"] = ui_amount(holding.native_reserve, mint.decimals)
    if holding.close_authority is not None:
        info["closeAuthority"] = str(holding.close_authority)
    return info


def _mint_info(mint: MintState) -> dict[str, Any]:
    return {
        "mintAuthority": _text(mint.mint_authority),
        "supply": str(mint.supply),
        "decimals": mint.decimals,
        "isInitialized": True,
        "freezeAuthority": _text(mint.freeze_authority),
    }


def _extensions(account: Account) -> list[dict[str, Any]]:
    return [_extension(kind, data) for kind, data in extensions(account)]


def _extension(kind: int, data: bytes) -> dict[str, Any]:
    name = _EXTENSION_NAMES.get(kind, "unparseableExtension")
    if name == "metadataPointer":
        keys = {"authority": _key_or_none(data[:32]), "metadataAddress": _key_or_none(data[32:64])}
        return {"extension": name, "state": keys}
    if name == "tokenMetadata":
        return {"extension": name, "state": _metadata(data)}
    return {"extension": name}


def _metadata(data: bytes) -> dict[str, Any]:
    texts, at = [], 64
    for _ in range(3):
        size = int.from_bytes(data[at : at + 4], "little")
        texts.append(data[at + 4 : at + 4 + size].decode(errors="replace"))
        at += 4 + size
    name, symbol, uri = texts
    return {
        "updateAuthority": _key_or_none(data[:32]),
        "mint": str(Pubkey(data[32:64])),
        "name": name,
        "symbol": symbol,
        "uri": uri,
        "additionalMetadata": [],
    }


def _key_or_none(data: bytes) -> str | None:
    return str(Pubkey(data)) if any(data) else None


def _text(key: Pubkey | None) -> str | None:
    return None if key is None else str(key)
