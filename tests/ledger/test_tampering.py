"""Somebody who owns the database goes past its triggers, in many ways; what the check of the proof says to each.

| what was done | found by |
|---|---|
| an event's payload, hash or columns edited; events deleted, reordered, inserted, moved to another agent | the chain |
| the tail cut off, head and all | the rows, which are newer than what their events say; and the anchor |
| a row edited, deleted, inserted or forged without triggers; content replaced | the rows |
| everything consistent: rows, events, every hash, the heads | the newest anchor before it, on the Solana chain |
| the same, and the anchor's row with it | the memo on the Solana chain (test_tampering_on_chain.py) |
| the same, after the last anchor | `ledger reconcile`, as far as money goes |
"""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from autopay.adapters.postgres import open_ledger
from autopay.domain.audit.anchor import Anchor, AnchorState, format_heads, root_hash
from autopay.domain.audit.events import MismatchReason
from autopay.domain.network import Network
from autopay.domain.payment.chain import Transfer
from autopay.domain.reconcile.checkpoint import AccountTransaction, Checkpoint
from autopay.domain.reconcile.run import ReconcileRun
from autopay.uuid7 import uuid7
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import PRICE, Book, open_book
from tests.ledger.proofs import Tamperer, busy, findings, reasons, rows
from tests.ledger.test_migrations import execute
from tests.unit.books_and_chain import BooksAndChain

PAID = "x402_request_id = (SELECT x402_request_id FROM api_request_logs WHERE request_id = 'paid')"


@pytest.fixture(scope="module")
async def busy_template(postgres: EmbeddedPostgres, template: str) -> str:
    """The name of a database with history, to be cloned."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
        db.execute(sql.SQL("CREATE DATABASE busy TEMPLATE {}").format(sql.Identifier(template)))
    ledger = open_ledger(postgres.url("busy"))
    await busy(await open_book(ledger))
    await ledger.dispose()
    return "busy"


@pytest.fixture
def hand(postgres: EmbeddedPostgres, busy_template: str) -> Iterator[Tamperer]:
    """Somebody at a ledger with history."""
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as db:
        db.execute(sql.SQL("CREATE DATABASE tampered TEMPLATE {}").format(sql.Identifier(busy_template)))
        yield Tamperer(postgres.url("tampered"))
        db.execute("DROP DATABASE tampered WITH (FORCE)")


CHAIN: dict[str, tuple[LiteralString, MismatchReason]] = {
    "a payload is edited": (
        "UPDATE audit_events SET payload = convert_to(replace(convert_from(payload, 'UTF8'), '0.001000', '0.000001'), "
        "'UTF8') WHERE kind = 'transactions.created'",
        MismatchReason.HASH_DIFFERS,
    ),
    "a hash is edited": ("UPDATE audit_events SET hash = sha256('x') WHERE seq = 3", MismatchReason.HASH_DIFFERS),
    "payload and hash fit, and nothing follows them": (
        "UPDATE audit_events SET payload = payload || ' ', hash = sha256(previous || payload || ' ') WHERE seq = 3",
        MismatchReason.EVENT_NOT_LINKED,
    ),
    "an event is deleted": ("DELETE FROM audit_events WHERE seq = 4", MismatchReason.EVENTS_MISSING),
    "the first event is deleted": ("DELETE FROM audit_events WHERE seq = 1", MismatchReason.EVENTS_MISSING),
    "two events change places": (
        "UPDATE audit_events AS e SET payload = o.payload, kind = o.kind, row_id = o.row_id, at = o.at "
        "FROM audit_events AS o WHERE o.agent_id = e.agent_id AND (e.seq, o.seq) IN ((4, 5), (5, 4))",
        MismatchReason.HASH_DIFFERS,
    ),
    "an event is inserted": (
        "INSERT INTO audit_events (agent_id, seq, xid, kind, row_id, at, previous, payload, hash) "
        "SELECT h.agent_id, h.seq + 1, 1, 'transactions.changed', gen_random_uuid(), now(), h.hash, '{}', "
        "sha256(h.hash || '{}') FROM audit_heads h",
        MismatchReason.PAYLOAD_DIFFERS,
    ),
    "agents change places": (
        "UPDATE audit_events SET agent_id = CASE agent_id WHEN l.low THEN l.high ELSE l.low END FROM (SELECT "
        "min(agent_id::text)::uuid AS low, max(agent_id::text)::uuid AS high FROM audit_heads) AS l WHERE seq < 3",
        MismatchReason.PAYLOAD_DIFFERS,
    ),
    "a column beside the payload is edited": (
        "UPDATE audit_events SET kind = 'transactions.deleted' WHERE kind = 'transactions.created'",
        MismatchReason.PAYLOAD_DIFFERS,
    ),
    "a time is edited": (
        "UPDATE audit_events SET at = at + interval '1 s' WHERE seq = 2",
        MismatchReason.PAYLOAD_DIFFERS,
    ),
    "a head is put back": ("UPDATE audit_heads SET seq = seq - 1", MismatchReason.HEAD_DIFFERS),
    "a head has another hash": ("UPDATE audit_heads SET hash = sha256('x')", MismatchReason.HEAD_DIFFERS),
    "a head is deleted": ("DELETE FROM audit_heads", MismatchReason.HEAD_MISSING),
    "a head has no events": (
        "INSERT INTO audit_heads VALUES (gen_random_uuid(), 3, sha256('x'))",
        MismatchReason.HEAD_DIFFERS,
    ),
}


@pytest.mark.parametrize(("statement", "reason"), CHAIN.values(), ids=CHAIN.keys())
async def test_the_chain_shows_what_was_done_to_it(
    hand: Tamperer, statement: LiteralString, reason: MismatchReason
) -> None:
    if "CASE agent_id" in statement:
        hand.does("ALTER TABLE audit_events DROP CONSTRAINT pk_audit_events")
    hand.does(statement)
    assert reason in await reasons(hand.url)


async def test_the_first_event_that_does_not_fit_is_named_with_its_neighbours(hand: Tamperer) -> None:
    hand.does("UPDATE audit_events SET payload = payload || ' ' WHERE seq IN (3, 5)")
    found = [each for each in await findings(hand.url) if each.reason is MismatchReason.HASH_DIFFERS]
    assert [each.seq for each in found] == [3] * len(found)
    assert [each.seq for each in found[0].around] == [2, 3, 4]
    stored = rows(hand.url, "SELECT kind FROM audit_events WHERE agent_id = %s AND seq = 3", found[0].agent_id)
    assert [(each.kind,) for each in found[0].around[1:2]] == stored


ROWS: dict[str, tuple[LiteralString, MismatchReason, str]] = {
    "an amount is edited": ("UPDATE transactions SET amount = 5", MismatchReason.ROW_DIFFERS, "amount is 5"),
    "a payment is forged": (
        "UPDATE transactions SET status = 'VERIFIED', hash = id::text, slot = 1, verification_hash = 'v' "
        "WHERE status = 'PENDING'",
        MismatchReason.ROW_DIFFERS,
        "status is VERIFIED, its events say PENDING",
    ),
    "a payment is inserted": (
        "INSERT INTO transactions (id, agent_id, hash, slot, verification_hash, amount, currency, status, "
        "x402_request_id, network) SELECT gen_random_uuid(), id, 'forged', 1, 'v', 1, 'USDC', 'VERIFIED', 'x', "
        "'DEVNET' FROM agents LIMIT 1",
        MismatchReason.ROW_WITHOUT_EVENTS,
        "it has no events",
    ),
    "a payment is deleted": (
        "DELETE FROM transactions WHERE status = 'FAILED'",
        MismatchReason.ROW_MISSING,
        "is not there",
    ),
    "a payment is given to another agent": (
        "UPDATE transactions SET agent_id = (SELECT id FROM agents WHERE name = 'other')",
        MismatchReason.ROW_DIFFERS,
        "agent_id is",
    ),
    "a receipt is edited": (
        "UPDATE transactions SET facilitator_response = '{}' WHERE facilitator_response IS NOT NULL",
        MismatchReason.ROW_DIFFERS,
        "facilitator_response_sha256",
    ),
    "an end is edited": (
        "UPDATE api_request_logs SET outcome = 'failed' WHERE outcome = 'delivered'",
        MismatchReason.ROW_DIFFERS,
        "outcome",
    ),
    "content is replaced": (
        "UPDATE api_request_logs SET body = 'fake' WHERE body IS NOT NULL",
        MismatchReason.CONTENT_DIFFERS,
        "hash",
    ),
    "an allowance is raised": ("UPDATE sessions SET allowance = 999", MismatchReason.ROW_DIFFERS, "allowance is 999"),
    "a session lives again": (
        "UPDATE sessions SET status = 'ACTIVE' WHERE status = 'REVOKED'",
        MismatchReason.ROW_DIFFERS,
        "status is ACTIVE",
    ),
    "a phase is edited": (
        "UPDATE agents SET autonomy_phase = 'INTERACTIVE'",
        MismatchReason.ROW_DIFFERS,
        "autonomy_phase",
    ),
}


@pytest.mark.parametrize(("statement", "reason", "says"), ROWS.values(), ids=ROWS.keys())
async def test_a_row_that_was_changed_past_the_triggers_is_found(
    hand: Tamperer, statement: LiteralString, reason: MismatchReason, says: str
) -> None:
    hand.does(statement)
    assert any(each.reason is reason and says in each.detail for each in await findings(hand.url))


async def test_a_tail_cut_off_with_its_head_leaves_rows_that_know_more(hand: Tamperer) -> None:
    hand.does("DELETE FROM audit_events e USING audit_heads h WHERE h.agent_id = e.agent_id AND e.seq > h.seq - 2")
    hand.does(
        "UPDATE audit_heads h SET seq = e.seq, hash = e.hash FROM audit_events e "
        "WHERE e.agent_id = h.agent_id AND e.seq = h.seq - 2"
    )
    assert await reasons(hand.url) & {MismatchReason.ROW_DIFFERS, MismatchReason.ROW_WITHOUT_EVENTS}


async def test_a_switched_off_trigger_is_found_before_it_is_used(hand: Tamperer) -> None:
    hand.does("ALTER TABLE transactions DISABLE TRIGGER guard_transactions")
    hand.does("DROP TRIGGER audit_changed ON sessions")
    details = [each.detail for each in await findings(hand.url) if each.reason is MismatchReason.TRIGGER_MISSING]
    assert details == [
        "trigger audit_changed of sessions is missing or disabled",
        "trigger guard_transactions of transactions is missing or disabled",
    ]


# Consistent lies


async def anchored(url: str) -> Anchor:
    """An anchor of the ledger as it is now, as if it were final on chain."""
    ledger = open_ledger(url)
    lines = format_heads(await ledger.audit.heads())
    anchor = Anchor(
        id=uuid7(),
        network=Network.DEVNET,
        root=root_hash(lines),
        heads=lines,
        payer="wallet",
        signature=f"signature {uuid7()}",
        wire=b"",
        last_valid_block_height=1,
        status=AnchorState.PENDING,
        slot=None,
        created_at=datetime.now(UTC),
    )
    assert await ledger.audit.record_anchor(anchor)
    await ledger.audit.close_anchor(anchor.id, AnchorState.FINALIZED, 7)
    await ledger.dispose()
    return anchor


async def lie_consistently(hand: Tamperer) -> None:
    """The payment was a tenth of what it was: in its row, in its events, and in every hash since."""
    hand.does("UPDATE transactions SET amount = 0.0001 WHERE amount = 0.001")
    hand.does("UPDATE api_request_logs SET price = 0.0001 WHERE price = 0.001")
    hand.edits_payload("0.001000", "0.000100")
    hand.rehashes()


async def test_a_history_written_anew_fits_itself(hand: Tamperer) -> None:
    await lie_consistently(hand)
    assert await findings(hand.url) == []


async def test_a_history_written_anew_does_not_fit_the_anchor_before(hand: Tamperer) -> None:
    await anchored(hand.url)
    execute(hand.url, "UPDATE agents SET wallet_address = 'a new one'")
    assert await findings(hand.url) == []
    await lie_consistently(hand)
    (found,) = [each for each in await findings(hand.url) if each.agent_id == _agent(hand, "buyer")]
    assert found.reason is MismatchReason.ANCHOR_NOT_IN_CHAIN


async def test_a_tail_cut_off_with_its_rows_does_not_fit_the_anchor_before(hand: Tamperer) -> None:
    await anchored(hand.url)
    other = _agent(hand, "other")
    hand.does("DELETE FROM audit_events WHERE agent_id = %s", other)
    hand.does("DELETE FROM audit_heads WHERE agent_id = %s", other)
    hand.does("DELETE FROM sessions WHERE agent_id = %s", other)
    hand.does("DELETE FROM policies WHERE agent_id = %s", other)
    hand.does("DELETE FROM agents WHERE id = %s", other)
    (found,) = await findings(hand.url)
    assert (found.reason, "there is no such event now" in found.detail) == (MismatchReason.ANCHOR_NOT_IN_CHAIN, True)


async def test_an_anchor_whose_row_was_edited_is_broken(hand: Tamperer) -> None:
    await anchored(hand.url)
    edits: list[LiteralString] = ["root = 'x'", "heads = heads || heads", "heads = convert_to('x', 'UTF8')"]
    update: LiteralString = "UPDATE audit_anchors SET {}"
    for edit in edits:
        hand.does(update.format(edit))
        assert await reasons(hand.url) == {MismatchReason.ANCHOR_BROKEN}


def _agent(hand: Tamperer, name: str) -> UUID:
    found: UUID = rows(hand.url, "SELECT id FROM agents WHERE name = %s", name)[0][0]
    return found


# What happened after the last anchor


@dataclass
class Lie:
    """A change of the books that is consistent with itself."""

    does: Callable[[Tamperer], Awaitable[None]]
    reason: str


async def hide(hand: Tamperer) -> None:
    """The payment never settled: in its row, in its events, and in every hash since."""
    hand.does("UPDATE transactions SET status = 'FAILED', hash = NULL, slot = NULL WHERE status = 'VERIFIED'")
    hand.edits_payload('"VERIFIED"', '"FAILED"')
    hand.does(
        "UPDATE audit_events SET payload = convert_to((convert_from(payload, 'UTF8')::jsonb || jsonb_build_object("
        "'values', (convert_from(payload, 'UTF8')::jsonb -> 'values') - 'hash' - 'slot'))::text, 'UTF8') "
        "WHERE kind = 'transactions.changed'"
    )
    hand.rehashes()


LIES = {"less was paid": Lie(lie_consistently, "amount_differs"), "nothing was paid": Lie(hide, "booked_as_failed")}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_money_lied_about_after_the_last_anchor_is_found_by_reconcile(
    book: Book, database_url: str, lie: Lie
) -> None:
    attempt = await book.recorded()
    settlement = await book.settled(attempt)
    moved = Transfer(source="source", mint="mint", destination="destination", authority="delegate", amount_atomic=PRICE)
    seen = AccountTransaction(
        signature=settlement.signature, slot=settlement.slot, message_hash=attempt.message_hash, transfers=(moved,)
    )
    world = BooksAndChain(chain={"source": [seen]}, batch=2)

    async def reconciled() -> list[str]:
        report = await ReconcileRun(
            book.ledger.reconciliation, world, Network.DEVNET, Checkpoint(network=Network.DEVNET)
        ).run()
        assert report.ok is not bool(report.unmatched_chain or report.unmatched_ledger)
        return [each.reason.value for each in (*report.unmatched_chain, *report.unmatched_ledger)]

    assert await reconciled() == []
    await lie.does(Tamperer(database_url))
    assert await findings(database_url) == []
    assert await reconciled() == [lie.reason]
