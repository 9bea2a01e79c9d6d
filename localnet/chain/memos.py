"""The memo of a transaction, in the form in which getSignaturesForAddress shows it."""

from solders.message import Message, MessageV0
from solders.pubkey import Pubkey

MEMO_PROGRAMS = {
    Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"),
    Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"),
}


def memo_of(message: Message | MessageV0) -> str | None:
    """`[length in bytes] text` of each top-level memo instruction, joined by "; " (Agave's `extract_memos.rs`)."""
    keys = message.account_keys
    memos = [
        _show(bytes(instruction.data))
        for instruction in message.instructions
        if keys[instruction.program_id_index] in MEMO_PROGRAMS
    ]
    return "; ".join(memos) or None


def _show(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "(unparseable)"
    return f"[{len(data)}] {text}"
