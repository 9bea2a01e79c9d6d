"""A vault and a signer without cryptography: deterministic, readable, and bound to the same things as the real ones."""

import hashlib
import json
from typing import Any

from autopay.domain.errors import SecretUnreadable
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment, UnsignedPayment
from autopay.domain.payment.chain import MintFacts
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import MAX_ATTEMPTS


def digest(*parts: object) -> str:
    """64 hex digits over the parts."""
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).hexdigest()


class PlainVault:
    """Seals by writing purpose and row in front; opens only for the same two."""

    def seal(self, secret: bytes, *, purpose: str, row: str) -> str:
        """Readable on purpose: auditors look into it."""
        return f"{purpose}|{row}|{secret.decode()}"

    def open(self, sealed: str, *, purpose: str, row: str) -> bytes:
        """What was sealed for that purpose and row."""
        lead = f"{purpose}|{row}|"
        if not sealed.startswith(lead):
            raise SecretUnreadable(f"{purpose} of {row}")
        return sealed[len(lead) :].encode()


def token_account_of(owner: str, mint: str) -> str:
    """The associated token account."""
    return f"ata-{owner}-{mint[:6]}"


def message_hash_of(message: dict[str, Any]) -> str:
    """The hash of a message: of all its fields and nothing else."""
    return digest("message", json.dumps(message, sort_keys=True))


def signature_by(authority: str, message_hash: str) -> str:
    """The authority's signature over a message; the same key and message always give the same one."""
    return digest("signed", authority, message_hash)


def transaction_id(message_hash: str) -> str:
    """The id of the transaction with that message: its fee payer's signature."""
    return digest("fee payer", message_hash)


class PlainSigner:
    """Implements the port `Signer`. The payment is JSON: the message, our signature, and the terms it answers to."""

    def __init__(self, vault: PlainVault) -> None:
        self._vault = vault

    def destination(self, offer: Offer, mint: MintFacts) -> str:
        """The payee's associated token account."""
        return token_account_of(offer.pay_to, mint.mint)

    def memos(self, agent: str, request_key: str, offer: Offer) -> list[str]:
        """The memo of each attempt, the first one's first."""
        numbers = range(1, MAX_ATTEMPTS + 1)
        return [offer.memo or digest("memo", agent, request_key, number)[:32] for number in numbers]

    def sign(self, order: UnsignedPayment, sealed_key: str) -> SignedPayment:
        """Build attempt `order.number`; equal orders give equal bytes."""
        key = self._vault.open(sealed_key, purpose="session-key", row=str(order.session.session_id)).decode()
        if key != order.session.authority:
            raise SecretUnreadable("another session's key")
        offer = order.offer
        memo = self.memos(order.agent, order.request_key, offer)[order.number - 1]
        unit_price = int(digest("price", order.request_key, order.number)[:8], 16) if offer.memo else 1
        message = {
            "fee_payer": offer.fee_payer,
            "unit_price": unit_price,
            "source": order.session.source_account,
            "mint": offer.mint,
            "destination": self.destination(offer, order.mint),
            "authority": order.session.authority,
            "amount": offer.amount_atomic,
            "memo": memo,
            "blockhash": order.blockhash.blockhash,
        }
        message_hash = message_hash_of(message)
        signature = signature_by(key, message_hash)
        payment = {"message": message, "signature": signature, "identifier": order.request_key}
        return SignedPayment(
            offer=offer,
            program=order.mint.program,
            memo=memo,
            message_hash=message_hash,
            buyer_signature=signature,
            blockhash=order.blockhash.blockhash,
            blockhash_slot=order.blockhash.slot,
            last_valid_block_height=order.blockhash.last_valid_block_height,
            source_account=order.session.source_account,
            destination_account=message["destination"],
            newest_prior_signature=order.newest_prior_signature,
            sealed=self._vault.seal(
                json.dumps(payment).encode(), purpose="payment", row=f"{order.request_key}/{order.number}"
            ),
        )

    def is_transaction_of(self, attempt: RecordedAttempt, signature: str) -> bool:
        """Whether the transaction of that id can only be the attempt's own."""
        return signature == transaction_id(attempt.message_hash)
