"""What is signed is what was decided, byte by byte; and the vault opens only what it was told to."""

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from x402.http.utils import decode_payment_signature_header

from autopay.adapters.solana import signer as signer_module
from autopay.adapters.solana.signer import PaymentSigner
from autopay.adapters.vault import Keyring, Vault
from autopay.domain.errors import PaymentMisbuilt, SecretUnreadable
from autopay.domain.money import Currency
from autopay.domain.network import Network, usdc_mint
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment, UnsignedPayment
from autopay.domain.payment.chain import Blockhash, MintFacts
from autopay.domain.payment.offer import Offer
from autopay.domain.session import SessionKey

MINT = MintFacts(mint=usdc_mint(Network.DEVNET), program="TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA", decimals=6)
KEY, OWNER, PAYEE, FACILITATOR, SOURCE = (Keypair() for _ in range(5))
SESSION_ID, AGENT_ID = uuid4(), UUID(int=7)
VAULT = Vault(Keyring.generate())
SEALED_KEY = VAULT.seal(bytes(KEY), purpose="session-key", row=str(SESSION_ID))
ACCEPTED: dict[str, Any] = {
    "scheme": "exact",
    "network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
    "asset": MINT.mint,
    "amount": "1000",
    "payTo": str(PAYEE.pubkey()),
    "maxTimeoutSeconds": 60,
    "extra": {"feePayer": str(FACILITATOR.pubkey()), "unknown": {"kept": [1, 2.5]}},
    "alsoUnknown": "kept",
}


def order(number: int = 1, key: str = "ap_" + "0" * 48, **changes: Any) -> UnsignedPayment:
    offer: dict[str, Any] = {
        "version": 2,
        "network": Network.DEVNET,
        "currency": Currency.USDC,
        "mint": MINT.mint,
        "amount_atomic": 1000,
        "pay_to": str(PAYEE.pubkey()),
        "fee_payer": str(FACILITATOR.pubkey()),
        "memo": None,
        "accepted_raw": json.dumps(ACCEPTED),
        "resource_raw": json.dumps({"url": "https://a.example/x"}),
        "extensions_raw": json.dumps({"payment-identifier": {"info": {"required": False}, "schema": {}}, "other": 1}),
    }
    session = SessionKey(
        session_id=SESSION_ID,
        agent_id=AGENT_ID,
        currency=Currency.USDC,
        mint=MINT.mint,
        source_account=str(SOURCE.pubkey()),
        owner=str(OWNER.pubkey()),
        authority=str(KEY.pubkey()),
        allowance_atomic=10_000,
    )
    return UnsignedPayment(
        agent="trader",
        request_key=key,
        number=number,
        offer=Offer.model_validate(offer | changes),
        session=session,
        mint=MINT,
        blockhash=Blockhash(blockhash=str(Keypair().pubkey()), slot=9, last_valid_block_height=150),
        newest_prior_signature=None,
    )


def signed(what: UnsignedPayment) -> tuple[SignedPayment, dict[str, Any], VersionedTransaction]:
    payment = PaymentSigner(VAULT).sign(what, SEALED_KEY)
    header = VAULT.open(payment.sealed, purpose="payment", row=f"{what.request_key}/{what.number}").decode()
    decode_payment_signature_header(header)  # the official SDK reads it
    content = json.loads(base64.b64decode(header))
    raw = base64.b64decode(content["payload"]["transaction"])
    return payment, content, VersionedTransaction.from_bytes(raw)


def test_the_session_key_signs_second_and_the_fee_payer_is_left_to_the_facilitator() -> None:
    payment, _, transaction = signed(order())
    message = transaction.message
    assert isinstance(message, MessageV0)
    assert [str(key) for key in message.account_keys[:2]] == [str(FACILITATOR.pubkey()), str(KEY.pubkey())]
    assert transaction.signatures[0] == Signature.default()
    assert transaction.signatures[1].verify(KEY.pubkey(), to_bytes_versioned(message))
    assert payment.buyer_signature == str(transaction.signatures[1])


def test_the_layout_is_limit_price_transfer_and_memo() -> None:
    payment, _, transaction = signed(order())
    message = transaction.message
    limit, price, transfer, memo = (bytes(each.data) for each in message.instructions)
    assert (limit[0], price[0], transfer[0]) == (2, 3, 12)
    assert int.from_bytes(price[1:9], "little") <= 100_000
    assert int.from_bytes(transfer[1:9], "little") == 1000
    assert memo.decode() == payment.memo
    assert len(payment.memo) == 32
    assert list(message.instructions[3].accounts) == []


def test_what_the_seller_sent_is_echoed_as_it_came() -> None:
    _, content, _ = signed(order())
    assert content["accepted"] == ACCEPTED
    assert content["resource"] == {"url": "https://a.example/x"}
    assert content["extensions"]["other"] == 1
    assert content["extensions"]["payment-identifier"]["info"] == {"required": False, "id": "ap_" + "0" * 48}


def test_a_v1_payment_names_scheme_and_network_at_its_top() -> None:
    _, content, _ = signed(order(version=1, extensions_raw=None, resource_raw=None))
    assert (content["x402Version"], content["scheme"], content["network"]) == (1, "exact", "solana-devnet")
    assert set(content) == {"x402Version", "scheme", "network", "payload"}


def test_a_memo_tells_request_and_attempt_apart_and_is_the_same_again() -> None:
    first, again, other = (signed(order(number=n))[0].memo for n in (1, 1, 2))
    assert first == again
    assert first != other
    assert first != signed(order(key="ap_" + "1" * 48))[0].memo


def test_two_attempts_under_a_sellers_memo_share_no_message() -> None:
    blockhash = order().blockhash
    hashes = set()
    for number in (1, 2, 3):
        fixed = order(number=number, memo="invoice 7").model_copy(update={"blockhash": blockhash})
        payment, _, _ = signed(fixed)
        assert payment.memo == "invoice 7"
        hashes.add(payment.message_hash)
    assert len(hashes) == 3


def test_a_long_memo_gets_the_compute_that_it_costs() -> None:
    _, _, transaction = signed(order(memo="x" * 256))
    assert int.from_bytes(bytes(transaction.message.instructions[0].data)[1:5], "little") >= 100_000


def test_a_transaction_that_is_not_what_was_decided_never_gets_out(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = signer_module._instructions

    def dearer(what: UnsignedPayment, memo: str) -> Any:
        offer = what.offer.model_copy(update={"amount_atomic": what.offer.amount_atomic + 1})
        return honest(what.model_copy(update={"offer": offer}), memo)

    monkeypatch.setattr(signer_module, "_instructions", dearer)
    with pytest.raises(PaymentMisbuilt, match="amount"):
        PaymentSigner(VAULT).sign(order(), SEALED_KEY)


def test_a_secret_opens_for_its_own_purpose_and_row_only() -> None:
    sealed = VAULT.seal(b"secret", purpose="a", row="1")
    assert VAULT.open(sealed, purpose="a", row="1") == b"secret"
    for purpose, row in (("b", "1"), ("a", "2")):
        with pytest.raises(SecretUnreadable):
            VAULT.open(sealed, purpose=purpose, row=row)
    for broken in (sealed[:-4] + "AAAA", "v9." + sealed.partition(".")[2], "", "v1.", "nonsense"):
        with pytest.raises(SecretUnreadable):
            VAULT.open(broken, purpose="a", row="1")


def test_an_old_key_still_opens_after_a_newer_one_seals() -> None:
    old = Keyring.generate()
    sealed = Vault(old).seal(b"secret", purpose="a", row="1")
    both = Keyring.parse(old.dump() + ",2:" + base64.b64encode(b"k" * 32).decode())
    assert Vault(both).open(sealed, purpose="a", row="1") == b"secret"
    assert Vault(both).seal(b"x", purpose="a", row="1").startswith("v2.")
    assert Vault(both).memo("a", "r", 1) == Vault(old).memo("a", "r", 1)


def test_a_broken_keyring_is_refused_without_quoting_it() -> None:
    for text in ("", "1:short", "x:" + "A" * 44, "1:" + "!" * 44):
        with pytest.raises(ValueError, match=r"keyring|key of") as refused:
            Keyring.parse(text)
        assert "AAAA" not in str(refused.value)


def recorded(what: UnsignedPayment) -> tuple[RecordedAttempt, bytes]:
    """The attempt as the ledger has it, and the message that its signatures are over."""
    payment, _, transaction = signed(what)
    attempt = RecordedAttempt(
        attempt_id=uuid4(),
        session_id=SESSION_ID,
        agent=what.agent,
        request_key=what.request_key,
        number=what.number,
        network=what.offer.network,
        currency=what.offer.currency,
        mint=what.offer.mint,
        amount_atomic=what.offer.amount_atomic,
        pay_to=what.offer.pay_to,
        authority=what.session.authority,
        version=what.offer.version,
        **payment.model_dump(exclude={"offer", "program"}),
    )
    return attempt, to_bytes_versioned(transaction.message)


@pytest.mark.parametrize("version", [1, 2])
def test_the_fee_payers_signature_over_the_message_is_that_of_the_payments_transaction(version: int) -> None:
    plain: dict[str, Any] = {"extensions_raw": None, "resource_raw": None} if version == 1 else {}
    attempt, message = recorded(order(version=version, **plain))
    assert PaymentSigner(VAULT).is_transaction_of(attempt, str(FACILITATOR.sign_message(message)))


def test_a_signature_of_anybody_else_or_over_anything_else_is_of_no_transaction_of_the_payment() -> None:
    attempt, message = recorded(order())
    _, second = recorded(order(number=2))
    others = {
        "the buyer's own": attempt.buyer_signature,
        "the payee's": str(PAYEE.sign_message(message)),
        "a stranger's": str(Keypair().sign_message(message)),
        "over another attempt's message": str(FACILITATOR.sign_message(second)),
        "over the message's hash": str(FACILITATOR.sign_message(bytes.fromhex(attempt.message_hash))),
        "over a part of the message": str(FACILITATOR.sign_message(message[:-1])),
        "over nothing": str(FACILITATOR.sign_message(b"")),
        "none yet": str(Signature.default()),
    }
    signer = PaymentSigner(VAULT)
    assert [name for name, each in others.items() if signer.is_transaction_of(attempt, each)] == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("claim", id="a-word"),
        pytest.param("0OIl" * 22, id="no-base58"),
        pytest.param("2" * 60, id="too-short"),
        pytest.param("z" * 88, id="too-large"),
        pytest.param("2" * 128, id="too-long"),
        pytest.param("\u00e9" * 88, id="not-ascii"),
        pytest.param("\x00", id="a-null"),
    ],
)
def test_what_is_no_signature_is_of_no_transaction(text: str) -> None:
    attempt, _ = recorded(order())
    assert not PaymentSigner(VAULT).is_transaction_of(attempt, text)


def test_a_sealed_payment_that_is_not_the_one_that_was_recorded_has_no_transaction() -> None:
    attempt, message = recorded(order())
    other = attempt.model_copy(update={"message_hash": "0" * 64})
    assert not PaymentSigner(VAULT).is_transaction_of(other, str(FACILITATOR.sign_message(message)))


SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
"""All points of Ed25519 whose order divides 8: a signature by one of them can pass for many messages, if it is not
checked strictly (RFC 8032 leaves that open)."""


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_a_fee_payer_of_small_order_has_signed_nothing(key: str) -> None:
    attempt, _ = recorded(order(fee_payer=str(Pubkey(bytes.fromhex(key)))))
    made_up = [str(Signature(bytes.fromhex(point) + bytes(32))) for point in SMALL_ORDER]
    assert not any(PaymentSigner(VAULT).is_transaction_of(attempt, each) for each in made_up)


def test_a_payment_that_another_keyring_sealed_is_told_of_and_not_guessed() -> None:
    attempt, message = recorded(order())
    signature = str(FACILITATOR.sign_message(message))
    with pytest.raises(SecretUnreadable):
        PaymentSigner(Vault(Keyring.generate())).is_transaction_of(attempt, signature)
    with pytest.raises(SecretUnreadable):
        PaymentSigner(VAULT).is_transaction_of(attempt.model_copy(update={"number": 2}), signature)
