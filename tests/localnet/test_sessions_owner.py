"""What owners of sessions sign, on the real chain and in a real ledger: grants and revokes, here and elsewhere."""

import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.token import ID as TOKEN
from solders.transaction import VersionedTransaction
from spl.token.instructions import get_associated_token_address, revoke
from spl.token.models import RevokeParams

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.solana.extensions import withheld_atomic
from autopay.adapters.solana.owner.grant import (
    GrantTerms,
    OwnerLacks,
    draft_again,
    finish_grant,
    grant_session,
    is_shown,
    open_grant,
    send_grant,
)
from autopay.adapters.solana.owner.owner_transaction import (
    OwnerNode,
    OwnerRefused,
    OwnerSignatureWrong,
    OwnerTooLate,
    signed_by,
    unsigned,
    with_signature,
    with_transaction,
)
from autopay.adapters.solana.owner.revoke import plan_revoke
from autopay.adapters.solana.rpc import NodeRpc
from autopay.adapters.vault import Keyring, Vault
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.settlement import check_settlement
from autopay.domain.refusal import Refused
from autopay.domain.session import OpenSession, OwnerTransaction, SessionRecord
from localnet.chain.genesis import CASH_MINT, USDC_MINT
from localnet.tokens import ensure_sol, faucet, mint_to_account
from tests.ledger.books import Book, offer_of, signed_payment
from tests.localnet.stack import SLOT_MS, Stack, until

MONEY, ALLOWANCE = 5_000, 2_000
"""In base units; a payment of `books` is 1,000."""

MINTS = {Currency.USDC: USDC_MINT, Currency.CASH: CASH_MINT}


@dataclass
class Owner:
    """A wallet with test money, and what it grants from."""

    key: Keypair
    node: OwnerNode
    ledger: PostgresLedger
    vault: Vault
    rpc_url: str

    def terms(self, currency: Currency = Currency.USDC, allowance: int = ALLOWANCE) -> GrantTerms:
        return GrantTerms(currency, str(MINTS[currency]), allowance, tx_limit=3, duration_s=3_600)

    async def opened(self, currency: Currency = Currency.USDC) -> SessionRecord:
        """A session that waits for this owner."""
        owner, terms = self.key.pubkey(), self.terms(currency)
        return await open_grant(self.node, self.ledger.sessions, self.vault, agent="buyer", owner=owner, terms=terms)

    async def granted(self, currency: Currency = Currency.USDC) -> SessionRecord:
        """A session that pays."""
        done = await grant_session(
            self.node, self.ledger.sessions, self.vault, agent="buyer", owner=self.key, terms=self.terms(currency)
        )
        record = await self.ledger.sessions.get(done.session_id)
        assert record is not None
        return record

    async def pays(self, currency: Currency = Currency.USDC) -> bool:
        found = await self.ledger.sessions.current("buyer", currency)
        assert isinstance(found, OpenSession | Refused)
        return isinstance(found, OpenSession)

    async def at_home(self, currency: Currency = Currency.USDC) -> int:
        """Base units in the owner's own account."""
        mint = MINTS[currency]
        async with AsyncClient(self.rpc_url) as rpc:
            info = (await rpc.get_account_info(mint, Confirmed)).value
            assert info is not None
            home = get_associated_token_address(self.key.pubkey(), mint, info.owner)
        account = await self.node.chain.token_account(str(home))
        return account.amount_atomic if account else 0

    async def lamports(self) -> int:
        found = await self.node.raw_account(self.key.pubkey())
        assert found is not None
        return found[2]


@pytest.fixture
async def owner(stack: Stack, ledger: PostgresLedger) -> AsyncIterator[Owner]:
    key = Keypair()
    await ensure_sol(stack.rpc_url, key.pubkey())
    for mint in MINTS.values():
        await faucet(stack.rpc_url, key.pubkey(), mint, MONEY)
    await ledger.agents.create("buyer")
    async with NodeRpc(stack.rpc_url, Network.DEVNET) as rpc:
        yield Owner(key, OwnerNode(rpc), ledger, Vault(Keyring.generate()), stack.rpc_url)


@pytest.mark.parametrize("currency", list(Currency))
async def test_a_grant_locks_the_allowance_and_a_revoke_brings_back_all_of_it(owner: Owner, currency: Currency) -> None:
    record = await owner.granted(currency)
    account = await owner.node.chain.token_account(record.source_account)
    assert account is not None
    assert (account.amount_atomic, account.delegate, account.delegated_atomic) == (
        ALLOWANCE,
        record.authority,
        ALLOWANCE,
    )
    assert await owner.at_home(currency) == MONEY - ALLOWANCE
    assert await owner.pays(currency)

    before, plan = await owner.lamports(), await plan_revoke(owner.node, record)
    assert plan is not None
    assert (plan.brings_back_atomic, plan.kept_open) == (ALLOWANCE, None)
    asked = await owner.node.draft(owner.key.pubkey(), plan.steps, "revoke")
    await owner.node.send(signed_by(asked, owner.key), asked.last_valid_block_height)
    assert await owner.node.raw_account(_key(record.source_account)) is None
    assert await owner.at_home(currency) == MONEY
    assert await owner.lamports() == before + plan.rent_lamports - 5_000
    assert await plan_revoke(owner.node, record) is None


async def test_a_session_pays_only_when_its_grant_is_on_chain(owner: Owner) -> None:
    record = await owner.opened()
    assert not await owner.pays()
    assert not await is_shown(owner.node, record)
    await send_grant(owner.node, owner.ledger.sessions, record, owner.key)
    assert not await owner.pays(), "sent, and not yet seen by the ledger: as after a crash"
    await finish_grant(owner.node, owner.ledger.sessions, record)
    assert await owner.pays()


async def test_a_wallet_elsewhere_signs_the_exported_transaction(owner: Owner) -> None:
    record = await owner.opened()
    asked = _asked(record)
    exported = VersionedTransaction.from_bytes(b64decode(unsigned(asked)))
    wallet = VersionedTransaction(exported.message, [owner.key])
    handed_back = with_transaction(asked, record.owner, b64encode(bytes(wallet)).decode())
    assert handed_back == with_signature(asked, record.owner, str(wallet.signatures[0]))
    for _ in range(2):  # the second time it has landed already
        assert await owner.node.send(handed_back, asked.last_valid_block_height) == str(wallet.signatures[0])
    await finish_grant(owner.node, owner.ledger.sessions, record)
    assert await owner.pays()


async def test_what_a_wallet_may_add_lands_on_chain(owner: Owner) -> None:
    """The embedded chain has no Lighthouse; its assertions are in `tests/unit/test_wallet_changes.py`."""
    record = await owner.opened()
    asked = _asked(record)
    message = VersionedTransaction.from_bytes(b64decode(unsigned(asked))).message
    assert isinstance(message, MessageV0)
    before = await owner.lamports()
    wallet = VersionedTransaction(_with_budget(message, units=60_000, price=1_000_000), [owner.key])
    signed = with_transaction(asked, record.owner, b64encode(bytes(wallet)).decode())
    for _ in range(2):  # the second time it has landed already
        assert await owner.node.send(signed, asked.last_valid_block_height) == str(wallet.signatures[0])
    await finish_grant(owner.node, owner.ledger.sessions, record)
    assert await owner.pays()
    assert asked.rent_lamports > 0
    assert await owner.lamports() == before - asked.rent_lamports - 5_000 - 60_000


def _with_budget(message: MessageV0, units: int, price: int) -> MessageV0:
    """The message as a wallet compiles it again, with a compute budget before its instructions."""
    keys, header = message.account_keys, message.header
    writable = len(keys) - header.num_readonly_unsigned_accounts
    steps = [
        Instruction(
            keys[each.program_id_index],
            bytes(each.data),
            [AccountMeta(keys[index], index == 0, index < writable) for index in each.accounts],
        )
        for each in message.instructions
    ]
    budget = [set_compute_unit_limit(units), set_compute_unit_price(price)]
    return MessageV0.try_compile(keys[0], [*budget, *steps], [], message.recent_blockhash)


async def test_only_the_very_message_with_the_owners_signature_is_taken(owner: Owner) -> None:
    record = await owner.opened()
    asked = _asked(record)
    message = VersionedTransaction.from_bytes(b64decode(unsigned(asked))).message
    assert isinstance(message, MessageV0)
    other = await owner.node.draft(owner.key.pubkey(), (), "grant")
    wrong = [
        unsigned(asked),
        b64encode(bytes(signed_by(other, owner.key))).decode(),
        b64encode(bytes(VersionedTransaction.populate(message, [Keypair().sign_message(b"another")]))).decode(),
        "not base64!",
        "AAAA",
        json.dumps({}),
    ]
    for transaction in wrong:
        with pytest.raises(OwnerSignatureWrong):
            with_transaction(asked, record.owner, transaction)
    for signature in ("", "zzz", str(Keypair().sign_message(b64decode(asked.message)))):
        with pytest.raises(OwnerSignatureWrong):
            with_signature(asked, record.owner, signature)


async def test_a_transaction_signed_too_late_is_not_sent_and_a_fresh_one_is(owner: Owner) -> None:
    record = await owner.opened()
    late = _asked(record)

    async def expired() -> bool:
        return await owner.node.block_height() > late.last_valid_block_height

    await until(expired, "the blockhash to expire")
    with pytest.raises(OwnerTooLate):
        await owner.node.send(signed_by(late, owner.key), late.last_valid_block_height)
    fresh = await draft_again(owner.node, owner.ledger.sessions, record)
    with pytest.raises(OwnerTooLate):  # the node says it, too
        await owner.node.send(signed_by(late, owner.key), fresh.last_valid_block_height)
    await owner.node.send(signed_by(fresh, owner.key), fresh.last_valid_block_height)
    await finish_grant(owner.node, owner.ledger.sessions, record)
    assert await owner.at_home() == MONEY - ALLOWANCE


async def test_two_transactions_for_one_session_grant_it_once(owner: Owner) -> None:
    record = await owner.opened()
    first = _asked(record)
    await until_new_blockhash(owner, first)
    second = await draft_again(owner.node, owner.ledger.sessions, record)
    assert second.message != first.message
    await owner.node.send(signed_by(second, owner.key), second.last_valid_block_height)
    with pytest.raises(OwnerRefused):
        await owner.node.send(signed_by(first, owner.key), first.last_valid_block_height)
    await finish_grant(owner.node, owner.ledger.sessions, record)
    assert await owner.at_home() == MONEY - ALLOWANCE


async def test_a_grant_that_lands_after_its_session_was_ended_says_where_the_money_is(owner: Owner) -> None:
    record = await owner.opened()
    await owner.ledger.sessions.end(record.session_id)
    await send_grant(owner.node, owner.ledger.sessions, record, owner.key)
    with pytest.raises(OwnerRefused, match=f"session revoke {record.session_id}"):
        await finish_grant(owner.node, owner.ledger.sessions, record)
    plan = await plan_revoke(owner.node, record)
    assert plan is not None
    assert plan.brings_back_atomic == ALLOWANCE


async def test_a_refused_grant_ends_its_session(owner: Owner) -> None:
    record = await owner.opened()
    await owner.granted()
    await owner.granted()  # 1,000 are left
    with pytest.raises(OwnerRefused):
        await send_grant(owner.node, owner.ledger.sessions, record, owner.key)
    refused = await owner.ledger.sessions.get(record.session_id)
    assert refused is not None
    assert refused.status == "REVOKED"
    assert await owner.pays(), "the session before it does"


async def test_an_owner_without_the_money_is_told_before_anything_is_recorded(owner: Owner) -> None:
    poor, terms = Keypair(), owner.terms(allowance=MONEY + 1)
    for key, why in ((poor, "no USDC account"), (owner.key, "needs 0.000001 more USDC")):
        with pytest.raises(OwnerLacks, match=why):
            await grant_session(owner.node, owner.ledger.sessions, owner.vault, agent="buyer", owner=key, terms=terms)
    await faucet(owner.rpc_url, poor.pubkey(), USDC_MINT, MONEY)
    with pytest.raises(OwnerLacks, match="SOL"):
        await grant_session(
            owner.node, owner.ledger.sessions, owner.vault, agent="buyer", owner=poor, terms=owner.terms()
        )
    assert await owner.ledger.sessions.list() == []


async def test_money_that_came_in_later_is_brought_back_too(owner: Owner) -> None:
    record = await owner.granted()
    await mint_to_account(owner.rpc_url, _key(record.source_account), USDC_MINT, 7)
    plan = await plan_revoke(owner.node, record)
    assert plan is not None
    assert plan.brings_back_atomic == ALLOWANCE + 7


async def test_an_open_payment_is_left_to_a_person_once_the_owner_revoked_elsewhere(owner: Owner) -> None:
    record = await owner.granted()
    attempt = await _signed_and_never_sent(owner, record)
    taken = revoke(RevokeParams(program_id=TOKEN, account=_key(record.source_account), owner=owner.key.pubkey()))
    asked = await owner.node.draft(owner.key.pubkey(), [taken], "revoke")
    await owner.node.send(signed_by(asked, owner.key), asked.last_valid_block_height)

    verdicts = []

    async def is_judged() -> bool:
        verdicts.append(await check_settlement(owner.node.chain, owner.ledger.sessions.booked_up_to, attempt, SLOT_MS))
        return getattr(verdicts[-1], "reason", "") != "blockhash_live"

    await until(is_judged, "the blockhash to expire at finalized")
    assert getattr(verdicts[-1], "reason", "") == "allowance_unequal"


def test_withheld_fees_are_read_from_an_account() -> None:
    plain = bytes(165)
    extended = plain + b"\x02" + (2).to_bytes(2, "little") + (8).to_bytes(2, "little") + (7).to_bytes(8, "little")
    assert withheld_atomic(plain) == 0
    assert withheld_atomic(extended) == 7


async def until_new_blockhash(owner: Owner, asked: OwnerTransaction) -> None:
    async def newer() -> bool:
        return (await owner.node.chain.latest_blockhash()).last_valid_block_height > asked.last_valid_block_height

    await until(newer, "a newer blockhash")


def _asked(record: SessionRecord) -> OwnerTransaction:
    assert record.owner_transaction is not None
    return record.owner_transaction


def _key(address: str) -> Pubkey:
    return Pubkey.from_string(address)


async def _signed_and_never_sent(owner: Owner, record: SessionRecord) -> RecordedAttempt:
    book, latest = Book(owner.ledger, "buyer", record.session_id), await owner.node.chain.latest_blockhash()
    signed = signed_payment(
        offer=offer_of().model_copy(update={"mint": record.mint}),
        source_account=record.source_account,
        blockhash=latest.blockhash,
        blockhash_slot=latest.slot,
        last_valid_block_height=latest.last_valid_block_height,
    )
    attempt = await owner.ledger.payments.record_attempt(await book.accepted(), 1, record.session_id, signed)
    assert isinstance(attempt, RecordedAttempt)
    return attempt
