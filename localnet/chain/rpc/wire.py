"""Transactions as clients send them."""

import base64
import binascii

import base58
from solders.transaction import VersionedTransaction

from localnet.chain.errors import invalid_param

MAX_BYTES = 1_232  # an IPv6 packet's minimum MTU less headers; Agave's PACKET_DATA_SIZE
_TYPE = "solana_transaction::versioned::VersionedTransaction"


def decode_transaction(text: str, encoding: str) -> VersionedTransaction:
    """A transaction from base58 or base64; RpcError -32602 for anything else."""
    try:
        raw = decode_base64(text) if encoding == "base64" else base58.b58decode(text)
    except ValueError as error:
        raise invalid_param(f"invalid {encoding} encoding: {error}") from error
    if len(raw) > MAX_BYTES:
        raise invalid_param(f"decoded {_TYPE} too large: {len(raw)} bytes (max: {MAX_BYTES} bytes)")
    try:
        transaction = VersionedTransaction.from_bytes(raw)
    except ValueError as error:
        raise invalid_param(f"failed to deserialize {_TYPE}: {error}") from error
    try:
        transaction.sanitize()
    except Exception as error:
        text = "invalid transaction: Transaction failed to sanitize accounts offsets correctly"
        raise invalid_param(text) from error
    return transaction


def decode_base64(text: str) -> bytes:
    """Bytes from base64; ValueError for anything else."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
