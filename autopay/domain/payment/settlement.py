"""What became of a payment that left: asks the chain, believes nobody else. The rules R1 to R3 of an x402 buyer.

R1, a signature is claimed: the transaction must be ours, by message hash and by our own signature.
R2, no signature is known: walk the source account's history back to what was there before signing.
R3, proof that it never will: finality has passed the last valid block height, the same node's history up to that
finalized slot does not have it, and the allowance left is exactly what the booked settlements leave.

Anything unequal or unreadable is `Unknown`: the attempt stays open and nothing new is signed. Among it is a delegation
that the owner took away elsewhere, and an account that was closed: no balance stands in for the allowance, as deposits
change it too. A person decides then (`starter.py ledger resolve`).
"""

import hashlib
import json
from collections.abc import Awaitable, Callable
from uuid import UUID

from autopay.domain.errors import TransientFault
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.chain import HistoryEntry, LandedTransaction
from autopay.domain.payment.payment import Dead, Seen, Settled, Settlement, Unknown, Verdict
from autopay.domain.payment.ports import Chain
from autopay.domain.session import Booked

BookedUpTo = Callable[[UUID, int, UUID], Awaitable[Booked]]
"""(session, slot, attempt) → what attempts other than that one have booked against the session up to that slot."""

FINALITY_SLOTS = 32
"""Slots between a block and its finality on Solana (31 confirmations and the block itself)."""

LIFE_SLOTS = 2_000
"""Slots after its blockhash in which a transaction can land at all: 150 blocks, with room for many empty slots."""

MAX_WITHOUT_MEMO = 32
"""Transactions whose memo the node did not keep that one check reads. Anybody can send such dust to an account; what
is overlooked shows in the allowance."""

MIN_WAIT_MS = 300
MAX_WAIT_MS = 10_000


NEEDS_A_PERSON = frozenset({"allowance_unequal", "source_account_unreadable", "node_forgot_the_slot"})
"""Unknown for these reasons may stay so for ever: the blockhash has expired, and what is missing is a proof."""


async def check_settlement(chain: Chain, booked_up_to: BookedUpTo, attempt: RecordedAttempt, slot_ms: int) -> Verdict:
    """One question to the chain about one attempt; raises only what `Chain` raises.

    Args:
        booked_up_to: base units that the ledger has booked against the attempt's session up to a slot, others' only.
        slot_ms: the cluster's slot time (400 on Solana), for the waits that are suggested.
    """
    landed = await _claimed(chain, attempt) or await _found(chain, attempt, final=False, min_slot=None)
    if landed is not None:
        return await _landed_verdict(chain, landed, slot_ms)
    return await _absence(chain, booked_up_to, attempt, slot_ms)


async def _claimed(chain: Chain, attempt: RecordedAttempt) -> LandedTransaction | None:
    for claim in attempt.claims:
        landed = await _read(chain, claim)
        if landed is not None and _is_ours(landed, attempt):
            return landed
    return None


async def _read(chain: Chain, signature: str) -> LandedTransaction | None:
    """The transaction, or None when this node cannot show it.

    Anybody can make a receipt or a sighting of a transaction that no node gives out, so it must not hold up the rest;
    if it was ours after all, the allowance that is missing says so.
    """
    try:
        return await chain.transaction(signature)
    except TransientFault:
        return None


async def _found(
    chain: Chain, attempt: RecordedAttempt, *, final: bool, min_slot: int | None
) -> LandedTransaction | None:
    history = await chain.history(
        attempt.source_account, until=attempt.newest_prior_signature, final=final, min_slot=min_slot
    )
    alive = [each for each in history if 0 <= each.slot - attempt.blockhash_slot <= LIFE_SLOTS]
    marked = [each for each in alive if each.memos is not None and _may_be_ours(each, attempt)]
    silent = [each for each in alive if each.memos is None][:MAX_WITHOUT_MEMO]
    for sighting in (*marked, *silent):
        landed = await _read(chain, sighting.signature)
        if landed is not None and _is_ours(landed, attempt):
            return landed
    return None


def _may_be_ours(sighting: HistoryEntry, attempt: RecordedAttempt) -> bool:
    """Worth a closer look: our memo, or memos that the node shows escaped."""
    return sighting.memos is not None and (attempt.memo in sighting.memos or not attempt.memo.isascii())


def _is_ours(landed: LandedTransaction, attempt: RecordedAttempt) -> bool:
    return landed.message_hash == attempt.message_hash and attempt.buyer_signature in landed.signatures


async def _landed_verdict(chain: Chain, landed: LandedTransaction, slot_ms: int) -> Verdict:
    if landed.final and landed.failed:
        return Dead(reason="landed_with_error")
    if landed.final:
        return Settled(settlement=_settlement(landed))
    tip = await chain.finalized_tip()
    wait = max(MIN_WAIT_MS, min(MAX_WAIT_MS * 2, (landed.slot - tip.slot + 1) * slot_ms))
    if landed.failed:
        return Unknown(reason="landed_with_error_not_final", retry_after_ms=wait)
    return Seen(settlement=_settlement(landed), retry_after_ms=wait)


def _settlement(landed: LandedTransaction) -> Settlement:
    assert len(landed.transfers) == 1, "our own message has exactly one transfer"
    transfer = landed.transfers[0]
    return Settlement(
        signature=landed.signature,
        slot=landed.slot,
        payer=transfer.authority,
        destination=transfer.destination,
        mint=transfer.mint,
        amount_atomic=transfer.amount_atomic,
    )


async def _absence(chain: Chain, booked_up_to: BookedUpTo, attempt: RecordedAttempt, slot_ms: int) -> Verdict:
    tip = await chain.finalized_tip()
    live_blocks = attempt.last_valid_block_height - tip.block_height
    if live_blocks >= 0:
        wait = max(MIN_WAIT_MS, min(MAX_WAIT_MS, (live_blocks + 1) * slot_ms // 8))
        return Unknown(reason="blockhash_live", retry_after_ms=wait)
    found = await _found(chain, attempt, final=True, min_slot=tip.slot)
    if found is not None:
        return await _landed_verdict(chain, found, slot_ms)
    if await chain.first_available_slot() > attempt.blockhash_slot:
        return Unknown(reason="node_forgot_the_slot", retry_after_ms=MAX_WAIT_MS)
    account = await chain.token_account(attempt.source_account, final=True, min_slot=tip.slot)
    if account is None:
        return Unknown(reason="source_account_unreadable", retry_after_ms=MAX_WAIT_MS)
    left = account.delegated_atomic if account.delegate == attempt.authority else 0
    # An attempt that was seen at confirmed is booked: its own booking must not pass for the reason of what is gone.
    booked = await booked_up_to(attempt.session_id, account.slot, attempt.attempt_id)
    if booked.allowance_atomic - booked.settled_atomic != left:
        return Unknown(reason="allowance_unequal", retry_after_ms=MAX_WAIT_MS)
    return Dead(reason="expired_unsettled")


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
