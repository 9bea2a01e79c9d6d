"""The verification hash: one number over what the chain shows of a settlement, for anyone to compute again. Pure."""

import hashlib
import json

from autopay.domain.network import Network
from autopay.domain.payment.payment import Settlement


def verification_hash(network: Network, settlement: Settlement) -> str:
    """SHA-256, hex, over the canonical JSON of the on-chain facts.

    Canonical: UTF-8, keys sorted, no spaces, the amount an integer of base units. Keys: network, signature, slot,
    payer (the authority that signed the transfer), payee (the token account that received it), mint, amount.
    """
    facts = {
        "network": network.value,
        "signature": settlement.signature,
        "slot": settlement.slot,
        "payer": settlement.payer,
        "payee": settlement.destination,
        "mint": settlement.mint,
        "amount": settlement.amount_atomic,
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()
