"""Anchors and payments against a real Solana chain: what a rewritten ledger cannot rewrite."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import LiteralString
from uuid import uuid4

import pytest
from solders.keypair import Keypair

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.audit.audit import Audit
from autopay.adapters.solana.anchoring import AnchorChain, AnchorRefused, anchor_now, signed_anchor
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.audit.anchor import AnchorState, format_heads, memo_text, root_hash
from autopay.domain.audit.event_chain import AuditFindings
from autopay.domain.audit.events import MismatchReason
from autopay.domain.audit.ledger_check import LedgerCheck
from autopay.domain.audit.solana_check import SolanaCheck
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.chain import LandedTransaction
from autopay.domain.payment.payment import Settlement
from tests.chain.conftest import USDC
from tests.chain.node import ChainNode, eventually
from tests.chain.wallet import Wallets
from tests.ledger.books import PRICE, Book, new_session, signed_payment
from tests.ledger.proofs import REHASH, Tamperer, rows

NET = Network.DEVNET


@pytest.fixture(scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ChainNode]:
    """A chain of this module's own."""
    node = ChainNode(tmp_path_factory.mktemp("chain"))
    await node.start()
    yield node
    await node.close()


@dataclass
class Witness:
    """A ledger, a wallet that anchors it, and the chain."""

    books: Audit
    chain: AnchorChain
    key: Keypair
    hand: Tamperer

    async def anchor(self) -> bool:
        """Anchor; whether there was anything new."""
        return (await anchor_now(self.books, self.chain, self.key, NET)).fresh

    async def says(self, *, wallet: str | None = None, payments: bool = False) -> list[MismatchReason]:
        """What the whole check finds."""
        async with self.books.snapshot() as snapshot:
            run = LedgerCheck(snapshot)
            await run.run()
        check = SolanaCheck(self.books, self.chain, NET, run.findings)
        await check.check_anchors(wallet)
        if payments:
            await check.check_payments()
        return [each.reason for each in run.findings.kept]

    def statuses(self) -> list[str]:
        """The anchors' statuses, oldest first."""
        return [row[0] for row in rows(self.hand.url, "SELECT status::text FROM audit_anchors ORDER BY id")]


@pytest.fixture
async def witness(node: ChainNode, book: Book, database_url: str) -> AsyncIterator[Witness]:
    """A book that can be anchored."""
    key = await Wallets(node.rpc).rich()
    ledger = open_ledger(database_url)
    async with NodeRpc(node.url, NET) as rpc:
        chain = AnchorChain(rpc)
        await eventually(lambda: chain.lamports(str(key.pubkey())))
        yield Witness(ledger.audit, chain, key, Tamperer(database_url))
    await ledger.dispose()


async def test_an_anchor_is_final_on_chain_and_says_what_it_commits_to(witness: Witness) -> None:
    assert await witness.anchor()
    anchor = await witness.books.last_anchor(NET)
    assert anchor is not None
    seen = await witness.chain.anchor(anchor.signature)
    assert seen is not None
    assert (seen.payer, seen.memos, seen.slot) == (str(witness.key.pubkey()), (memo_text(anchor.root),), anchor.slot)
    assert anchor.root == root_hash(format_heads(await witness.books.heads()))
    assert await witness.says(wallet=str(witness.key.pubkey())) == []


async def test_what_did_not_change_is_not_anchored_again(witness: Witness, book: Book) -> None:
    assert [await witness.anchor(), await witness.anchor()] == [True, False]
    await book.recorded()
    assert await witness.anchor()
    assert witness.statuses() == ["FINALIZED", "FINALIZED"]
    assert await witness.says() == []


@pytest.mark.parametrize("sent", [False, True])
async def test_a_crash_after_recording_or_after_sending_is_finished_by_the_next_run(
    witness: Witness, sent: bool
) -> None:
    lines = format_heads(await witness.books.heads())
    lost = signed_anchor(lines, witness.key, await witness.chain.latest_blockhash(), NET)
    assert await witness.books.record_anchor(lost)
    if sent:
        await witness.chain.send(lost.wire)
    assert await witness.anchor()
    last = await witness.books.last_anchor(NET)
    assert last is not None
    assert (last.signature, witness.statuses()) == (lost.signature, ["FINALIZED"])


async def test_an_anchor_that_can_never_land_is_given_up_and_made_anew(witness: Witness) -> None:
    lines = format_heads(await witness.books.heads())
    recent = (await witness.chain.latest_blockhash()).model_copy(update={"last_valid_block_height": 1})
    expired = signed_anchor(lines, Keypair(), recent, NET)  # a payer without money: it cannot land
    assert await witness.books.record_anchor(expired)
    assert await witness.anchor()
    assert witness.statuses() == ["DEAD", "FINALIZED"]
    assert await witness.says() == []


async def test_two_at_once_do_not_anchor_twice_at_a_time(witness: Witness) -> None:
    lines = format_heads(await witness.books.heads())
    recent = await witness.chain.latest_blockhash()
    first, second = (signed_anchor(lines, key, recent, NET) for key in (witness.key, Keypair()))
    assert [await witness.books.record_anchor(each) for each in (first, second)] == [True, False]


async def test_a_wallet_without_money_is_refused_before_anything_is_recorded(witness: Witness) -> None:
    with pytest.raises(AnchorRefused, match="no SOL"):
        await anchor_now(witness.books, witness.chain, Keypair(), NET)
    assert witness.statuses() == []


async def rewrite_with_its_anchor(witness: Witness) -> None:
    """History, every hash, and the anchor's own row: all consistent."""
    witness.hand.does("UPDATE agents SET wallet_address = 'mine'")
    witness.hand.edits_payload('"wallet_address": ""', '"wallet_address": "mine"')
    witness.hand.does(REHASH)
    lines = format_heads(await witness.books.heads())
    witness.hand.does("UPDATE audit_anchors SET heads = %s, root = %s", lines, root_hash(lines))


async def test_an_anchor_row_rewritten_with_the_history_is_not_what_the_chain_has(witness: Witness) -> None:
    await witness.anchor()
    await rewrite_with_its_anchor(witness)
    assert await witness.says() == [MismatchReason.ANCHOR_NOT_ON_CHAIN]


async def test_a_history_anchored_anew_leaves_the_old_anchor_on_chain(witness: Witness) -> None:
    await witness.anchor()
    wallet = str(witness.key.pubkey())
    witness.hand.does("UPDATE agents SET wallet_address = 'mine'")
    witness.hand.edits_payload('"wallet_address": ""', '"wallet_address": "mine"')
    witness.hand.does(REHASH)
    witness.hand.does("DELETE FROM audit_anchors")
    assert await witness.says() == []  # no anchor, no wallet: that is said among what cannot be excluded
    assert await witness.says(wallet=wallet) == [MismatchReason.ANCHOR_UNKNOWN]
    await witness.anchor()
    assert await witness.says() == [MismatchReason.ANCHOR_UNKNOWN]


async def test_an_anchor_by_another_wallet_is_none(witness: Witness, node: ChainNode) -> None:
    mine = str(witness.key.pubkey())
    witness.key = await Wallets(node.rpc).rich()
    await eventually(lambda: witness.chain.lamports(str(witness.key.pubkey())))
    await witness.anchor()
    assert await witness.says() == []
    assert await witness.says(wallet=mine) == [MismatchReason.ANCHOR_NOT_ON_CHAIN]


async def test_an_anchor_that_was_never_sent_is_not_on_chain(witness: Witness) -> None:
    lines = format_heads(await witness.books.heads())
    forged = signed_anchor(lines, witness.key, await witness.chain.latest_blockhash(), NET)
    assert await witness.books.record_anchor(forged)
    await witness.books.close_anchor(forged.id, AnchorState.FINALIZED, 1)
    assert await witness.says() == [MismatchReason.ANCHOR_NOT_ON_CHAIN]


# Payments


async def transferred(node: ChainNode, chain: AnchorChain) -> LandedTransaction:
    """A transfer of 1000 base units that is final on chain."""
    wallets = Wallets(node.rpc)
    owner, payee = await wallets.rich(), Keypair()
    source = await wallets.fund(USDC, owner.pubkey(), 10_000)
    transfer = USDC.transfer(source, USDC.account_of(payee.pubkey()), owner.pubkey(), PRICE)
    signature = await wallets.send([USDC.open(owner.pubkey(), payee.pubkey()), transfer], owner)

    async def final() -> LandedTransaction | None:
        return await chain.final_transaction(str(signature))

    landed = await eventually(final)
    assert landed is not None
    return landed


async def book_as_verified(ledger: PostgresLedger, landed: LandedTransaction) -> None:
    """A new agent's session paid it."""
    (moved,) = landed.transfers
    await ledger.agents.create("payer")
    book = Book(ledger, "payer", uuid4())
    await ledger.sessions.create(
        new_session(
            book.session_id,
            agent="payer",
            mint=moved.mint,
            authority=moved.authority,
            allowance_atomic=PRICE,
            tx_limit=1,
            duration_s=60,
        )
    )
    signed = signed_payment(message_hash=landed.message_hash, destination_account=moved.destination)
    signed = signed.model_copy(update={"offer": signed.offer.model_copy(update={"mint": moved.mint})})
    attempt = await ledger.payments.record_attempt(await book.accepted(), 1, book.session_id, signed)
    assert isinstance(attempt, RecordedAttempt), attempt
    settlement = Settlement(
        signature=landed.signature,
        slot=landed.slot,
        payer=moved.authority,
        destination=moved.destination,
        mint=moved.mint,
        amount_atomic=moved.amount_atomic,
    )
    await ledger.payments.record_seen(attempt.attempt_id, settlement, final=True)


LIES: list[tuple[LiteralString, MismatchReason]] = [
    ("amount = 0.000001", MismatchReason.VERIFICATION_DIFFERS),
    ("verification_hash = 'x'", MismatchReason.VERIFICATION_DIFFERS),
    ("message_hash = 'x'", MismatchReason.VERIFICATION_DIFFERS),
    ("slot = slot + 1", MismatchReason.VERIFICATION_DIFFERS),
    ("verification_hash = NULL", MismatchReason.PAYMENT_NOT_ON_CHAIN),
    ("hash = repeat('1', 64)", MismatchReason.PAYMENT_NOT_ON_CHAIN),
]


async def test_a_payment_is_what_the_chains_blocks_say(witness: Witness, node: ChainNode, book: Book) -> None:
    await book_as_verified(book.ledger, await transferred(node, witness.chain))
    assert await witness.says(payments=True) == []
    witness.hand.does("CREATE TABLE kept AS SELECT * FROM transactions")
    update: LiteralString = "UPDATE transactions SET {}"
    for lie, reason in LIES:
        witness.hand.does(update.format(lie))
        findings = AuditFindings()
        await SolanaCheck(witness.books, witness.chain, NET, findings).check_payments()
        assert [each.reason for each in findings.kept] == [reason], lie
        witness.hand.does("DELETE FROM transactions")
        witness.hand.does("INSERT INTO transactions SELECT * FROM kept")
    assert await witness.says(payments=True) == []
