"""What a seller and its facilitator do with a payment: one honest way, and many others, each seen or feared.

A behaviour gets the decoded payment and answers with a `Reply`, or raises SellerUnavailable. What it began on chain
goes on whatever it answers.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import Receipt, Reply
from tests.world.chain import SLOT_MS, ChainTransaction, SimChain
from tests.world.clock import sleep_ms
from tests.world.shop import Shop
from tests.world.vault import digest, message_hash_of, transaction_id

Payment = dict[str, Any]
Behaviour = Callable[["Till", Payment], Awaitable[Reply]]

SETTLE_POLLS = 90


class Till:
    """Takes payments for one shop."""

    def __init__(self, shop: Shop, chain: SimChain) -> None:
        self.shop = shop
        self.chain = chain
        self.rng = chain.faults.rng
        self.first_bytes: dict[str, str] = {}

    async def honest(self, payment: Payment) -> Reply:
        """Verify, settle, deliver; what was settled before is delivered again where the shop does that."""
        message, key = payment["message"], payment["identifier"]
        message_hash = message_hash_of(message)
        known = self.chain.by_message.get(message_hash)
        if known is not None and known.error is None:
            return self.content(payment, self.receipt(known)) if self.shop.redelivers else self.refusal()
        first = self.first_bytes.setdefault(key, message_hash)
        if first != message_hash and self.shop.identifier:
            earlier = self.chain.by_message.get(first)
            if self.shop.strict or (earlier is not None and earlier.error is None):
                return Reply(http_status=409)
        if not self.shop.accepts(message) or self.expired(message):
            return self.refusal()
        landed = await self.settle(payment)
        if landed is None:
            return self.refusal(Receipt(success=False, transaction="", error_reason="settle_timeout"))
        if landed.error is not None:
            denied = Receipt(success=False, transaction=landed.signature, error_reason="transaction_failed")
            return self.refusal(denied)
        return self.content(payment, self.receipt(landed))

    async def settle(self, payment: Payment) -> ChainTransaction | None:
        """Broadcast and wait until it is confirmed; None when it was not by the time one stops waiting."""
        signature = self.broadcast(payment, self.rng.randint(100, 1500))
        for _ in range(SETTLE_POLLS):
            await sleep_ms(SLOT_MS)
            landed = self.chain.by_signature.get(signature)
            if landed is not None and landed.slot <= self.chain.confirmed_slot():
                return landed
            if self.expired(payment["message"]):
                return None
        return None

    def broadcast(self, payment: Payment, delay_ms: int) -> str:
        """Send it to the cluster, to land after the delay."""
        return self.chain.broadcast(payment["message"], payment["signature"], delay_ms)

    def expired(self, message: dict[str, Any]) -> bool:
        """No block from now on accepts the blockhash."""
        return self.blocks_left(message) < 0

    def blocks_left(self, message: dict[str, Any]) -> int:
        """Blocks until the blockhash is too old."""
        return self.chain.last_valid_height(message["blockhash"]) - self.chain.height_at(self.chain.slot_now())

    # Answers

    def content(self, payment: Payment, receipt: Receipt | None = None) -> Reply:
        """What was bought."""
        body = json.dumps({"content of": payment["identifier"], "at": self.shop.host}).encode()
        return Reply(http_status=200, content_type="application/json", body=body, receipt=receipt)

    def refusal(self, receipt: Receipt | None = None, status: int = 402) -> Reply:
        """No content."""
        return Reply(http_status=status, receipt=receipt)

    @staticmethod
    def receipt(landed: ChainTransaction) -> Receipt:
        """A true one."""
        return Receipt(success=True, transaction=landed.signature)

    def any_answer(self, payment: Payment) -> Reply:
        """Whatever comes to mind; the chain will have the last word."""
        kind = self.rng.choice(("lost", "refused", "error", "content", "pending", "denied"))
        signature = transaction_id(message_hash_of(payment["message"]))
        match kind:
            case "lost":
                raise SellerUnavailable("reset")
            case "refused":
                return self.refusal()
            case "error":
                return self.refusal(status=502)
            case "content":
                return self.content(payment)
            case "pending":
                pending = Receipt(success=False, transaction=signature, error_reason="settlement_pending")
                return self.refusal(pending, self.rng.choice((402, 500)))
        return self.refusal(Receipt(success=False, transaction="", error_reason="unexpected_settle_error"))


async def error_before_verify(till: Till, payment: Payment) -> Reply:
    wait = till.rng.choice((None, 1_000, 5_000))
    return Reply(http_status=till.rng.choice((500, 503, 429, 400)), retry_after_ms=wait)


async def refused_with_a_new_offer(till: Till, payment: Payment) -> Reply:
    return till.refusal()


async def answer_lost_before_work(till: Till, payment: Payment) -> Reply:
    raise SellerUnavailable("reset before work")


async def answer_lost_after_broadcast(till: Till, payment: Payment) -> Reply:
    till.broadcast(payment, till.rng.randint(0, 8_000))
    raise SellerUnavailable("reset after broadcast")


async def answer_lost_after_settling(till: Till, payment: Payment) -> Reply:
    await till.settle(payment)
    raise SellerUnavailable("reset after settling")


async def processed_twice(till: Till, payment: Payment) -> Reply:
    till.broadcast(payment, till.rng.randint(0, 3_000))
    return await till.honest(payment)


async def held_and_settled_late(till: Till, payment: Payment) -> Reply:
    """Up to the last blocks in which it may land, and beyond."""
    left_ms = max(0, till.blocks_left(payment["message"])) * SLOT_MS
    share = till.rng.choice((0.1, 0.5, 0.9, 0.97, 1.0, 1.0, 1.02))
    till.broadcast(payment, max(0, int(left_ms * share) - till.rng.randint(0, 4) * SLOT_MS))
    return till.any_answer(payment)


async def pending_and_lands(till: Till, payment: Payment) -> Reply:
    signature = till.broadcast(payment, till.rng.randint(0, 20_000))
    return till.refusal(Receipt(success=False, transaction=signature, error_reason="settlement_pending"))


async def pending_and_never_lands(till: Till, payment: Payment) -> Reply:
    signature = transaction_id(message_hash_of(payment["message"]))
    return till.refusal(Receipt(success=False, transaction=signature, error_reason="settlement_pending"))


async def denied_though_broadcast(till: Till, payment: Payment) -> Reply:
    till.broadcast(payment, till.rng.randint(0, 20_000))
    return till.refusal(Receipt(success=False, transaction="", error_reason="unexpected_settle_error"))


async def receipt_with_a_made_up_signature(till: Till, payment: Payment) -> Reply:
    lie = Receipt(success=True, transaction=digest("made up", till.rng.random()))
    return till.content(payment, lie) if till.rng.random() < 0.5 else till.refusal(lie)


async def receipt_of_another_payment(till: Till, payment: Payment) -> Reply:
    landed = till.chain.transactions
    others = [each for each in landed[-20:] if each.source == payment["message"]["source"]] or landed[-1:]
    if not others:
        return till.refusal()
    lie = Receipt(success=True, transaction=till.rng.choice(others).signature)
    return till.content(payment, lie) if till.rng.random() < 0.5 else till.refusal(lie)


async def error_after_settling(till: Till, payment: Payment) -> Reply:
    landed = await till.settle(payment)
    if landed is not None and till.rng.random() < 0.5:
        return till.refusal(till.receipt(landed), 500)
    return till.refusal(status=500)


async def new_price_after_settling(till: Till, payment: Payment) -> Reply:
    till.broadcast(payment, till.rng.randint(0, 2_000))
    till.shop.reprice(till.rng)
    return till.refusal()


async def new_payee_after_settling(till: Till, payment: Payment) -> Reply:
    till.broadcast(payment, till.rng.randint(0, 2_000))
    till.shop.change_payee()
    return till.refusal()


async def conflict(till: Till, payment: Payment) -> Reply:
    if till.rng.random() < 0.5:
        till.broadcast(payment, till.rng.randint(0, 10_000))
    return Reply(http_status=409)


async def content_without_settling(till: Till, payment: Payment) -> Reply:
    return till.content(payment)


async def content_before_settling(till: Till, payment: Payment) -> Reply:
    till.broadcast(payment, till.rng.randint(0, 30_000))
    return till.content(payment)


async def never_answers(till: Till, payment: Payment) -> Reply:
    if till.rng.random() < 0.5:
        till.broadcast(payment, till.rng.randint(0, 60_000))
    await sleep_ms(120_000)
    raise SellerUnavailable("timed out")


async def settles_and_answers_late(till: Till, payment: Payment) -> Reply:
    """The money is there long before the content."""
    till.broadcast(payment, till.rng.randint(0, 5_000))
    await sleep_ms(till.rng.randint(20_000, 110_000))
    return till.content(payment)


async def settles_late_and_then_delivers(till: Till, payment: Payment) -> Reply:
    """No answer until the payment has landed, which takes longer than all sends before it."""
    landed = till.chain.by_message.get(message_hash_of(payment["message"]))
    if landed is None:
        till.broadcast(payment, 45_000)
        raise SellerUnavailable("reset")
    return till.content(payment, till.receipt(landed))


async def memo_copied_by_a_stranger(till: Till, payment: Payment) -> Reply:
    """The memo is no secret to the seller: anybody can put it on a transaction that names our account."""
    message = payment["message"]
    till.chain.spoof(message["source"], message["memo"], failed=till.rng.random() < 0.5)
    return till.any_answer(payment)


BEHAVIOURS: dict[str, Behaviour] = {
    each.__name__: each
    for each in (
        error_before_verify,
        refused_with_a_new_offer,
        answer_lost_before_work,
        answer_lost_after_broadcast,
        answer_lost_after_settling,
        processed_twice,
        held_and_settled_late,
        pending_and_lands,
        pending_and_never_lands,
        denied_though_broadcast,
        receipt_with_a_made_up_signature,
        receipt_of_another_payment,
        error_after_settling,
        new_price_after_settling,
        new_payee_after_settling,
        conflict,
        content_without_settling,
        content_before_settling,
        never_answers,
        settles_and_answers_late,
        settles_late_and_then_delivers,
        memo_copied_by_a_stranger,
    )
}
