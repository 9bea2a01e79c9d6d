"""Transactions as getTransaction shows them.

`jsonParsed` gives accounts with their roles, and every instruction in the form that a cluster uses for programs that
it cannot parse.
"""

import base64
from typing import Any

import base58
from solders.instruction import CompiledInstruction
from solders.message import Message, MessageV0
from solders.transaction import VersionedTransaction


def show_transaction(transaction: VersionedTransaction, encoding: str) -> Any:
    """The UI form of a transaction."""
    if encoding == "base64":
        return [base64.b64encode(bytes(transaction)).decode(), encoding]
    if encoding == "base58":
        return [base58.b58encode(bytes(transaction)).decode(), encoding]
    message = transaction.message
    shown = _parsed_message(message) if encoding == "jsonParsed" else _message(message)
    return {"signatures": [str(each) for each in transaction.signatures], "message": shown}


def _message(message: Message | MessageV0) -> dict[str, Any]:
    header = message.header
    shown = {
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "accountKeys": [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": [_instruction(each) for each in message.instructions],
    }
    return shown if isinstance(message, Message) else {**shown, "addressTableLookups": []}


def _instruction(instruction: CompiledInstruction) -> dict[str, Any]:
    return {
        "programIdIndex": instruction.program_id_index,
        "accounts": list(instruction.accounts),
        "data": base58.b58encode(bytes(instruction.data)).decode(),
        "stackHeight": None,
    }


def _parsed_message(message: Message | MessageV0) -> dict[str, Any]:
    keys = [str(key) for key in message.account_keys]
    instructions = [
        {
            "programId": keys[each.program_id_index],
            "accounts": [keys[index] for index in each.accounts],
            "data": base58.b58encode(bytes(each.data)).decode(),
            "stackHeight": None,
        }
        for each in message.instructions
    ]
    shown: dict[str, Any] = {
        "accountKeys": [_account_key(message, index, key) for index, key in enumerate(keys)],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": instructions,
    }
    return shown if isinstance(message, Message) else {**shown, "addressTableLookups": []}


def _account_key(message: Message | MessageV0, index: int, key: str) -> dict[str, Any]:
    header, count = message.header, len(message.account_keys)
    is_signer = index < header.num_required_signatures
    if is_signer:
        is_writable = index < header.num_required_signatures - header.num_readonly_signed_accounts
    else:
        is_writable = index < count - header.num_readonly_unsigned_accounts
    return {"pubkey": key, "signer": is_signer, "source": "transaction", "writable": is_writable}
