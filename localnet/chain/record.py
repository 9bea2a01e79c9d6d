"""Turns an executed transaction into what getTransaction shows of it."""

import base64
import json
from typing import Any

import base58
from solders.transaction import VersionedTransaction

from localnet.chain.blocks import Block
from localnet.chain.execution import ExecutionResult, States
from localnet.chain.memos import memo_of
from localnet.chain.store import StoredTransaction
from localnet.chain.token_state import ReadAccount, read_holding, read_mint, ui_amount


def to_stored(
    transaction: VersionedTransaction, outcome: ExecutionResult, block: Block, read: ReadAccount
) -> StoredTransaction:
    """The row to keep; `read` finds the mints that the transaction itself does not name."""
    message = transaction.message
    return StoredTransaction(
        signature=str(transaction.signatures[0]),
        message_hash=bytes(message.hash()),
        slot=block.slot,
        time=block.time,
        wire=bytes(transaction),
        error=None if outcome.error is None else json.dumps(outcome.error),
        memo=memo_of(message),
        meta=json.dumps(_meta(outcome, read)),
    )


def _meta(outcome: ExecutionResult, read: ReadAccount) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "err": outcome.error,
        "status": {"Ok": None} if outcome.error is None else {"Err": outcome.error},
        "fee": outcome.fee.total,
        "preBalances": _balances(outcome.before),
        "postBalances": _balances(outcome.after),
        "innerInstructions": inner_instructions(outcome),
        "logMessages": outcome.logs,
        "preTokenBalances": _token_balances(outcome.before, read),
        "postTokenBalances": _token_balances(outcome.after, read),
        "rewards": [],
        "loadedAddresses": {"writable": [], "readonly": []},
        "computeUnitsConsumed": outcome.units,
    }
    returned = return_data(outcome)
    return meta if returned is None else {**meta, "returnData": returned}


def return_data(outcome: ExecutionResult) -> dict[str, Any] | None:
    """The data that a program handed back, if any."""
    if outcome.returned is None:
        return None
    program, data = outcome.returned
    return {"programId": str(program), "data": [base64.b64encode(data).decode(), "base64"]}


def inner_instructions(outcome: ExecutionResult) -> list[dict[str, Any]]:
    """The instructions that programs called, by top-level instruction."""
    return [
        {"index": index, "instructions": [_inner(instruction) for instruction in called]}
        for index, called in enumerate(outcome.inner)
        if called
    ]


def _inner(inner: Any) -> dict[str, Any]:
    instruction = inner.instruction()
    return {
        "programIdIndex": instruction.program_id_index,
        "accounts": list(instruction.accounts),
        "data": base58.b58encode(bytes(instruction.data)).decode(),
        "stackHeight": inner.stack_height(),
    }


def _balances(states: States) -> list[int]:
    return [account.lamports if account else 0 for account in states.values()]


def _token_balances(states: States, read: ReadAccount) -> list[dict[str, Any]]:
    balances = []
    for index, account in enumerate(states.values()):
        holding = read_holding(account)
        mint = read_mint(states.get(holding.mint) or read(holding.mint)) if holding else None
        if holding and mint:
            balances.append(
                {
                    "accountIndex": index,
                    "mint": str(holding.mint),
                    "owner": str(holding.owner),
                    "programId": str(holding.program),
                    "uiTokenAmount": ui_amount(holding.amount, mint.decimals),
                }
            )
    return balances
