"""Builds, signs and checks a payment: the x402 scheme `exact` on Solana, signed by a session key as delegate.

The layout is the one that the official facilitators verify (x402 SVM exact scheme): SetComputeUnitLimit,
SetComputeUnitPrice, TransferChecked, Memo. What was built is decoded again and compared with the order before
it is returned.
"""

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Sequence

from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from spl.token.instructions import get_associated_token_address, transfer_checked
from spl.token.models import TransferCheckedParams
from x402.extensions.payment_identifier import append_payment_identifier_to_extensions
from x402.http.utils import safe_base64_decode, safe_base64_encode
from x402.schemas import PaymentPayload
from x402.schemas.v1 import PaymentPayloadV1

from autopay.adapters.vault import Vault
from autopay.domain.errors import PaymentMisbuilt
from autopay.domain.network import wire_name
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment, UnsignedPayment
from autopay.domain.payment.chain import MintFacts
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import MAX_ATTEMPTS

MEMO_PROGRAM = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")

BASE_UNITS = 20_000
"""Of a transfer in either token program and a memo of one character."""

UNITS_PER_MEMO_BYTE = {1: 400, 2: 900, 3: 5_300, 4: 5_300}
"""What the memo program v2 uses at most for a byte of a character of so many bytes in UTF-8, most of it for logging:
measured over all characters. 256 bytes of the dearest stay below the 1,400,000 units that a transaction may have."""

MAX_VARIED_PRICE = 50_000
"""Microlamports per unit; facilitators refuse above 5,000,000."""

MAX_PRIORITY_FEE_LAMPORTS = 3_000
"""What the facilitator pays for a varied price at most, however many units the memo takes."""

VARIED_UNITS = 256
"""Added to the compute-unit limit at most, to tell two payments under one memo apart together with the price."""


class PaymentSigner:
    """Implements the port `Signer`; the key is opened for the length of one call."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def destination(self, offer: Offer, mint: MintFacts) -> str:
        """The payee's associated token account: the only place that a facilitator accepts."""
        return str(_associated(offer.pay_to, mint))

    def memos(self, agent: str, request_key: str, offer: Offer) -> Sequence[str]:
        """The memo of each attempt, the first one's first: the seller's when it fixes one."""
        numbers = range(1, MAX_ATTEMPTS + 1)
        return [offer.memo or self._vault.memo(agent, request_key, number) for number in numbers]

    def sign(self, order: UnsignedPayment, sealed_key: str) -> SignedPayment:
        """Build and sign attempt `order.number`.

        Raises:
            SecretUnreadable: the session key cannot be opened.
            PaymentMisbuilt: what was built differs from the order.
        """
        row = str(order.session.session_id)
        key = Keypair.from_bytes(self._vault.open(sealed_key, purpose="session-key", row=row))
        memo = self.memos(order.agent, order.request_key, order.offer)[order.number - 1]
        message = _message(order, memo)
        signed_bytes = to_bytes_versioned(message)
        signature = key.sign_message(signed_bytes)
        transaction = VersionedTransaction.populate(message, [Signature.default(), signature])
        _compare(VersionedTransaction.from_bytes(bytes(transaction)), order, memo)
        header = _payment_header(order, b64encode(bytes(transaction)).decode())
        return SignedPayment(
            offer=order.offer,
            program=order.mint.program,
            memo=memo,
            message_hash=hashlib.sha256(signed_bytes).hexdigest(),
            buyer_signature=str(signature),
            blockhash=order.blockhash.blockhash,
            blockhash_slot=order.blockhash.slot,
            last_valid_block_height=order.blockhash.last_valid_block_height,
            source_account=order.session.source_account,
            destination_account=self.destination(order.offer, order.mint),
            newest_prior_signature=order.newest_prior_signature,
            sealed=self._vault.seal(header.encode(), purpose="payment", row=f"{order.request_key}/{order.number}"),
        )

    def is_transaction_of(self, attempt: RecordedAttempt, signature: str) -> bool:
        """Whether that is the fee payer's signature over the attempt's message.

        Such a signature is the id of no other transaction: Ed25519 is checked strictly (solders: verify_strict), which
        no key can make one signature pass for two messages.

        Raises:
            SecretUnreadable: the sealed payment cannot be opened.
        """
        row = f"{attempt.request_key}/{attempt.number}"
        header = json.loads(safe_base64_decode(self._vault.open(attempt.sealed, purpose="payment", row=row).decode()))
        message = VersionedTransaction.from_bytes(b64decode(header["payload"]["transaction"])).message
        signed_bytes = to_bytes_versioned(message)
        if hashlib.sha256(signed_bytes).hexdigest() != attempt.message_hash:
            return False
        try:
            named = Signature.from_string(signature)
        except ValueError:
            return False
        return bool(named.verify(message.account_keys[0], signed_bytes))


def _associated(owner: str, mint: MintFacts) -> Pubkey:
    program = Pubkey.from_string(mint.program)
    return get_associated_token_address(Pubkey.from_string(owner), Pubkey.from_string(mint.mint), program)


def _instructions(order: UnsignedPayment, memo: str) -> list[Instruction]:
    units, price = _compute(order, memo)
    transfer = transfer_checked(
        TransferCheckedParams(
            program_id=Pubkey.from_string(order.mint.program),
            source=Pubkey.from_string(order.session.source_account),
            mint=Pubkey.from_string(order.mint.mint),
            dest=_associated(order.offer.pay_to, order.mint),
            owner=Pubkey.from_string(order.session.authority),
            amount=order.offer.amount_atomic,
            decimals=order.mint.decimals,
        )
    )
    return [
        set_compute_unit_limit(units),
        set_compute_unit_price(price),
        transfer,
        Instruction(MEMO_PROGRAM, memo.encode(), []),
    ]


def units_for(memo: str) -> int:
    """Compute units that a payment with this memo never exceeds."""
    sizes = (len(char.encode()) for char in memo)
    return BASE_UNITS + sum(size * UNITS_PER_MEMO_BYTE[size] for size in sizes)


def _compute(order: UnsignedPayment, memo: str) -> tuple[int, int]:
    """Compute-unit limit and price: the attempt's own under a seller's memo, so that no two share a message."""
    units = units_for(memo)
    if order.offer.memo is None:
        return units, 1
    digest = hmac.digest(b"compute-unit-price", f"{order.request_key}/{order.number}".encode(), hashlib.sha256)
    most = min(MAX_VARIED_PRICE, MAX_PRIORITY_FEE_LAMPORTS * 1_000_000 // (units + VARIED_UNITS))
    return units + digest[4] % VARIED_UNITS, 1 + int.from_bytes(digest[:4], "big") % most


def _message(order: UnsignedPayment, memo: str) -> MessageV0:
    return MessageV0.try_compile(
        payer=Pubkey.from_string(order.offer.fee_payer),
        instructions=_instructions(order, memo),
        address_lookup_table_accounts=[],
        recent_blockhash=Hash.from_string(order.blockhash.blockhash),
    )


def _compare(transaction: VersionedTransaction, order: UnsignedPayment, memo: str) -> None:
    """Decode field by field and compare with the order, trusting nothing of how it was built."""
    message = transaction.message
    assert isinstance(message, MessageV0)
    keys = [str(key) for key in message.account_keys]
    programs = [keys[instruction.program_id_index] for instruction in message.instructions]
    wanted = [str(COMPUTE_BUDGET), str(COMPUTE_BUDGET), order.mint.program, str(MEMO_PROGRAM)]
    if programs != wanted or message.address_table_lookups or len(transaction.signatures) != 2:
        raise PaymentMisbuilt("instructions, lookups or signers")
    _, _, transfer, note = message.instructions
    data = bytes(transfer.data)
    facts = {
        "fee payer": (keys[0], order.offer.fee_payer),
        "signer": (keys[1], order.session.authority),
        "accounts": (
            [keys[index] for index in transfer.accounts],
            [
                order.session.source_account,
                order.offer.mint,
                str(_associated(order.offer.pay_to, order.mint)),
                order.session.authority,
            ],
        ),
        "amount": (int.from_bytes(data[1:9], "little"), order.offer.amount_atomic),
        "instruction": ((len(data), data[0], data[9]), (10, 12, order.mint.decimals)),
        "memo": ((bytes(note.data), len(note.accounts)), (memo.encode(), 0)),
        "blockhash": (str(message.recent_blockhash), order.blockhash.blockhash),
    }
    for name, (built, decided) in facts.items():
        if built != decided:
            raise PaymentMisbuilt(name)


def _payment_header(order: UnsignedPayment, transaction: str) -> str:
    """The value of PAYMENT-SIGNATURE (v2) or X-PAYMENT (v1); what the seller sent is echoed as it came."""
    offer, payload = order.offer, {"transaction": transaction}
    content: dict[str, object]
    if offer.version == 1:
        content = {"x402Version": 1, "scheme": "exact", "network": wire_name(offer.network, 1), "payload": payload}
        PaymentPayloadV1.model_validate(content)
        return safe_base64_encode(json.dumps(content))
    content = {"x402Version": 2, "accepted": json.loads(offer.accepted_raw), "payload": payload}
    if offer.resource_raw is not None:
        content["resource"] = json.loads(offer.resource_raw)
    if offer.extensions_raw is not None:
        extensions = json.loads(offer.extensions_raw)
        content["extensions"] = append_payment_identifier_to_extensions(extensions, order.request_key)
    PaymentPayload.model_validate(content)
    return safe_base64_encode(json.dumps(content))
