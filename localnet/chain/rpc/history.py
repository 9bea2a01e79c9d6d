"""Methods that read what landed: statuses, signatures, transactions.

A lagging node knows nothing newer than its own newest block.
"""

import json
from typing import Any

from solders.transaction import VersionedTransaction

from localnet.chain.blocks import Block, ChainView, Commitment
from localnet.chain.errors import invalid_param, unsupported_version
from localnet.chain.rpc.methods import Methods, Node, in_context
from localnet.chain.rpc.params import (
    Address,
    Sig,
    SignaturesConfig,
    StatusConfig,
    TransactionConfig,
    at_least_confirmed,
    at_most,
)
from localnet.chain.rpc.transaction_json import show_transaction
from localnet.chain.store import StoredTransaction

METHODS = Methods()
STATUS_CACHE_SLOTS = 300  # what getSignatureStatuses knows without searching the ledger; Agave's status cache
MAX_STATUSES = 256
MAX_SIGNATURES = 1_000
_END = 2**63 - 1


@METHODS.method("getSignatureStatuses")
def get_signature_statuses(
    node: Node,
    signatures: list[Sig],
    config: StatusConfig = StatusConfig(),  # noqa: B008 (frozen)
) -> dict[str, Any]:
    """How far each transaction has come; null for one that is not known, or old and not searched for."""
    at_most(MAX_STATUSES, len(signatures))
    view = node.view
    oldest = 0 if config.search_transaction_history else view.tip.slot - STATUS_CACHE_SLOTS
    found = [_landed(node, view.tip, signature) for signature in signatures]
    statuses = [_status(view, each) if each and each.slot >= oldest else None for each in found]
    return in_context(view.tip, statuses)


@METHODS.method("getSignaturesForAddress")
def get_signatures_for_address(
    node: Node,
    address: Address,
    config: SignaturesConfig = SignaturesConfig(),  # noqa: B008 (frozen)
) -> list[dict[str, Any]]:
    """Transactions that name an address, newest first; nothing when `before` is not known here."""
    at_least_confirmed(config.commitment)
    if not 1 <= config.limit <= MAX_SIGNATURES:
        raise invalid_param(f"Invalid limit; max {MAX_SIGNATURES}")
    block = node.block(config.commitment, config.min_context_slot)
    before, after = _END, 0
    if config.before is not None:
        newest = _landed(node, node.view.tip, config.before)
        if newest is None:
            return []
        before = newest.number
    if config.until is not None:
        oldest = _landed(node, node.view.tip, config.until)
        after = oldest.number if oldest else 0
    found = node.bank.store.mentions(address, after, before, block.slot, config.limit)
    return [_signature(node.view, each) for each in found]


@METHODS.method("getTransaction")
def get_transaction(
    node: Node,
    signature: Sig,
    config: TransactionConfig = TransactionConfig(),  # noqa: B008 (frozen)
) -> dict[str, Any] | None:
    """A transaction and what it did; null when it is not there at this commitment."""
    at_least_confirmed(config.commitment)
    landed = _landed(node, node.block(config.commitment), signature)
    if landed is None:
        return None
    transaction = VersionedTransaction.from_bytes(landed.wire)
    version = transaction.version()
    highest = config.max_supported_transaction_version
    if isinstance(version, int) and (highest is None or version > highest):
        raise unsupported_version(version)
    answer = {
        "slot": landed.slot,
        "transaction": show_transaction(transaction, config.encoding),
        "meta": json.loads(landed.meta),
        "blockTime": landed.time,
    }
    if highest is not None:
        answer["version"] = version if isinstance(version, int) else "legacy"
    return answer


def _landed(node: Node, newest: Block, signature: Sig) -> StoredTransaction | None:
    landed = node.bank.store.transaction(str(signature))
    return landed if landed and landed.slot <= newest.slot else None


def _status(view: ChainView, landed: StoredTransaction) -> dict[str, Any]:
    error = _error(landed)
    confirmations = view.confirmations(landed.slot)
    return {
        "slot": landed.slot,
        "confirmations": confirmations,
        "err": error,
        "status": {"Ok": None} if error is None else {"Err": error},
        "confirmationStatus": view.commitment(landed.slot),
    }


def _signature(view: ChainView, landed: StoredTransaction) -> dict[str, Any]:
    commitment = view.commitment(landed.slot)
    assert commitment is not Commitment.PROCESSED
    return {
        "signature": landed.signature,
        "slot": landed.slot,
        "err": _error(landed),
        "memo": landed.memo,
        "blockTime": landed.time,
        "confirmationStatus": commitment,
    }


def _error(landed: StoredTransaction) -> Any:
    return None if landed.error is None else json.loads(landed.error)
