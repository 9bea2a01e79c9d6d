"""What the ledger's own triggers refuse, whoever asks: every statement here is the table owner's."""

from collections.abc import Sequence
from itertools import product
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from autopay.adapters.postgres.maintenance import migrations
from autopay.domain.errors import IllegalTransition
from autopay.domain.payment.status import TransactionStatus, is_legal
from autopay.domain.request import RequestStatus
from tests.ledger.books import Book
from tests.ledger.proofs import busy, findings, rows
from tests.ledger.test_migrations import REVISIONS, ROWS_OF_0001, execute

ARCHIVED = "UPDATE agents SET archived_at = now()"


def refused(url: str, statement: LiteralString, *values: object) -> str:
    """What the database says when it refuses."""
    with psycopg.connect(url, autocommit=True) as db, pytest.raises(psycopg.DatabaseError) as caught:
        db.execute(statement, values)
    assert caught.value.sqlstate == "AP001", (statement, caught.value)
    return str(caught.value).split("\n")[0]


def update_refused(url: str, table: LiteralString, changes: Sequence[LiteralString]) -> set[str]:
    """What the database says to each of these updates of all rows, without the row's name."""
    update: LiteralString = "UPDATE {} SET {}"
    return {refused(url, update.format(table, change)).partition(": ")[2] for change in changes}


APPEND_ONLY: list[LiteralString] = [
    "INSERT INTO audit_events (agent_id, seq, xid, kind, row_id, at, previous, payload, hash) "
    "SELECT agent_id, seq + 99, xid, kind, row_id, at, previous, payload, hash FROM audit_events",
    "UPDATE audit_events SET payload = ''",
    "UPDATE audit_events SET id = DEFAULT",
    "DELETE FROM audit_events",
    "TRUNCATE audit_events",
    "UPDATE audit_heads SET seq = 0",
    "DELETE FROM audit_heads",
    "TRUNCATE audit_heads",
    "INSERT INTO audit_heads VALUES (gen_random_uuid(), 1, '')",
    "DELETE FROM audit_anchors",
    "TRUNCATE audit_anchors",
    "DELETE FROM transactions",
    "DELETE FROM api_request_logs",
    "TRUNCATE transactions CASCADE",
    "TRUNCATE api_request_logs CASCADE",
    "TRUNCATE sessions CASCADE",
    "TRUNCATE agents CASCADE",
    "TRUNCATE policies",
    "TRUNCATE counterparties",
    "TRUNCATE approvals",
    "UPDATE policies SET policy = '{}'",
    "UPDATE counterparties SET pay_to = 'me'",
]


async def test_what_is_recorded_is_not_removed_or_rewritten(book: Book, database_url: str) -> None:
    await busy(book)
    for statement in APPEND_ONLY:
        assert "append-only" in refused(database_url, statement)
    assert await findings(database_url) == []


IDENTITY: dict[LiteralString, list[LiteralString]] = {
    "transactions": [
        "agent_id = gen_random_uuid()",
        "amount = amount + 1",
        "currency = 'CASH'",
        "network = 'MAINNET'",
        "x402_request_id = 'x'",
        "attempt_number = 9",
        "retry_count = 3",
        "created_at = now()",
        "session_id = NULL",
        "memo = 'x'",
        "message_hash = 'x'",
        "buyer_signature = 'x'",
        "blockhash = 'x'",
        "blockhash_slot = 1",
        "last_valid_block_height = 1",
        "pay_to = 'x'",
        "mint = 'x'",
        "source_account = 'x'",
        "destination_account = 'x'",
        "authority = 'x'",
        "x402_version = 1",
        "newest_prior_signature = 'x'",
        "host = 'x'",
        "resource = 'x'",
    ],
    "api_request_logs": [
        "agent_id = gen_random_uuid()",
        "endpoint = '/x'",
        "method = 'POST'",
        "created_at = now()",
        "request_id = 'x'",
        "x402_request_id = 'x'",
        "url = 'https://x'",
        "terms_hash = 'x'",
        "max_price = 9",
        "currency_preference = 'CASH'",
        "watch = 'x'",
        "body_hash = 'x'",
    ],
    "sessions": [
        "agent_id = gen_random_uuid()",
        "scope = scope || '{\"txLimit\": 1000000}'",
        "created_at = now()",
        "public_key = 'x'",
        "currency = 'CASH'",
        "mint = 'x'",
        "source_account = 'x'",
        "owner_wallet = 'x'",
        "allowance = 999",
        "expires_at = expires_at + interval '1 year'",
    ],
    "agents": ["id = gen_random_uuid()", "name = 'x'", "created_at = now() - interval '1 day'"],
}


@pytest.mark.parametrize("table", IDENTITY)
async def test_what_identifies_a_row_never_changes(book: Book, database_url: str, table: LiteralString) -> None:
    await book.recorded()
    (said,) = update_refused(database_url, table, IDENTITY[table]) - {"its end never changes"}
    assert said.endswith("never changes")


async def test_a_status_moves_only_as_the_program_would_move_it(book: Book, database_url: str) -> None:
    facts = "UPDATE transactions SET hash = id::text, slot = 1, verification_hash = 'v', status = %s WHERE id = %s"
    move = "UPDATE transactions SET status = %s WHERE id = %s"
    for current, wanted in product(TransactionStatus, repeat=2):
        attempt = await book.recorded()
        with psycopg.connect(database_url, autocommit=True) as db:
            db.execute(facts, [current, attempt.attempt_id])
            if is_legal(current, wanted):
                db.execute(move, [wanted, attempt.attempt_id])
            else:
                with pytest.raises(psycopg.DatabaseError, match=f"{current} cannot become {wanted}"):
                    db.execute(move, [wanted, attempt.attempt_id])
    assert await findings(database_url) == []


async def test_no_payment_begins_settled(book: Book, database_url: str) -> None:
    said = refused(
        database_url,
        "INSERT INTO transactions (id, agent_id, hash, slot, verification_hash, amount, currency, status, "
        "x402_request_id, network) SELECT gen_random_uuid(), id, 'forged', 1, 'v', 1, 'USDC', 'VERIFIED', 'x', "
        "'DEVNET' FROM agents",
    )
    assert "cannot begin as VERIFIED" in said


async def test_verified_needs_what_the_chain_showed(book: Book, database_url: str) -> None:
    await book.recorded()
    assert "needs what the chain showed" in refused(database_url, "UPDATE transactions SET status = 'VERIFIED'")


async def test_what_the_chain_showed_is_written_once(book: Book, database_url: str) -> None:
    attempt = await book.recorded()
    settlement = await book.settled(attempt)
    changes: list[LiteralString] = ["hash = 'x'", "slot = 1", "verification_hash = 'x'", "error_code = 'x'"]
    assert update_refused(database_url, "transactions", changes) == {"its outcome VERIFIED is final"}
    dead = await book.recorded()
    await book.ledger.payments.record_dead(dead.attempt_id, "expired_unsettled")
    said = refused(database_url, "UPDATE transactions SET error_code = 'x' WHERE id = %s", dead.attempt_id)
    assert "its outcome FAILED is final" in said
    assert rows(database_url, "SELECT hash FROM transactions WHERE status = 'VERIFIED'") == [(settlement.signature,)]


async def test_a_sighting_gives_way_to_what_is_final_only(book: Book, database_url: str) -> None:
    attempt = await book.recorded()
    execute(database_url, "UPDATE transactions SET status = 'SUCCESS', hash = 'seen', slot = 5")
    assert "recorded already" in refused(database_url, "UPDATE transactions SET hash = 'other'")
    await book.settled(attempt)
    assert await findings(database_url) == []


async def test_a_request_stays_delivered_and_closed(book: Book, database_url: str) -> None:
    attempt = await book.recorded()
    await book.delivered(attempt)
    await book.settled(attempt)
    await book.end(attempt.request_key, RequestStatus.DELIVERED)
    moves: list[LiteralString] = ["delivery = 'NONE'", "delivery = 'UNDELIVERED'"]
    said = {"DELIVERED cannot become NONE", "DELIVERED cannot become UNDELIVERED"}
    assert update_refused(database_url, "api_request_logs", moves) == said
    ends: list[LiteralString] = ["closed_at = NULL", "outcome = 'failed'", "result = '{}'", "price = 0"]
    assert update_refused(database_url, "api_request_logs", ends) == {"its end is final"}
    content: list[LiteralString] = ["body = 'x'", "body_sha256 = 'x'", "success_payload = '1'", "content_type = 'x'"]
    assert update_refused(database_url, "api_request_logs", content) == {"what was delivered never changes"}


async def test_content_may_be_removed_after_its_time(book: Book, database_url: str) -> None:
    await book.delivered(await book.recorded())
    execute(database_url, "UPDATE api_request_logs SET body = NULL, success_payload = NULL")
    assert "never changes" in refused(database_url, "UPDATE api_request_logs SET body = 'x'")
    assert await findings(database_url) == []


async def test_a_session_that_has_ended_stays_so(book: Book, database_url: str) -> None:
    await book.ledger.sessions.end(book.session_id)
    assert "REVOKED cannot become ACTIVE" in refused(database_url, "UPDATE sessions SET status = 'ACTIVE'")


async def test_a_session_that_waits_for_its_owner_begins_with_the_grant(book: Book, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as db:
        asked = 'UPDATE sessions SET scope = scope || \'{"ownerTransaction": {"does": "grant"}}\''
        db.execute(asked)
        db.execute("UPDATE sessions SET scope = scope - 'ownerTransaction', expires_at = now() + interval '1 hour'")
    assert "its end never changes" in refused(database_url, "UPDATE sessions SET expires_at = now()")


async def test_a_persons_word_stands(book: Book, database_url: str) -> None:
    await book.accepted("asked")
    with psycopg.connect(database_url, autocommit=True) as db:
        db.execute(
            "INSERT INTO approvals (id, agent_id, x402_request_id, terms_hash, terms, why, expires_at) "
            "SELECT gen_random_uuid(), agent_id, x402_request_id, 't', '{}', 'w', now() FROM api_request_logs"
        )
        db.execute("UPDATE approvals SET status = 'APPROVED'")
        db.execute("UPDATE approvals SET status = 'DENIED'")
    assert "DENIED cannot become APPROVED" in refused(database_url, "UPDATE approvals SET status = 'APPROVED'")
    assert "never changes" in refused(database_url, "UPDATE approvals SET terms = '[]'")


async def test_the_program_hears_a_refusal_as_a_permanent_fault(book: Book) -> None:
    async def insists() -> None:
        async with book.ledger.database.transaction() as db:
            await db.execute(text("UPDATE agents SET name = 'x'"))

    with pytest.raises(IllegalTransition, match="never changes"):
        await insists()


async def test_an_agent_without_payments_goes_with_its_sessions(book: Book, database_url: str) -> None:
    await book.recorded()
    execute(
        database_url,
        "INSERT INTO agents (id, name, autonomy_phase, wallet_address) VALUES (gen_random_uuid(), 'idle', 'DEMO', '')",
    )
    with psycopg.connect(database_url, autocommit=True) as db:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            db.execute("DELETE FROM agents WHERE name = 'buyer'")
        db.execute("DELETE FROM agents WHERE name = 'idle'")
    assert await findings(database_url) == []


async def test_the_guards_go_and_come_with_their_revision(book: Book, database_url: str) -> None:
    await busy(book)
    before = rows(database_url, "SELECT id, status, amount FROM transactions ORDER BY id")
    migrations.downgrade(database_url, "0005_policy")
    assert rows(database_url, "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal") == []
    left = "SELECT proname FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace WHERE nspname = 'public'"
    assert rows(database_url, left) == []
    execute(database_url, ARCHIVED)
    migrations.upgrade(database_url)
    assert rows(database_url, "SELECT id, status, amount FROM transactions ORDER BY id") == before
    assert {row[0] for row in rows(database_url, "SELECT split_part(kind, '.', 2) FROM audit_events")} == {"adopted"}
    assert await findings(database_url) == []


def test_rows_of_old_may_still_be_closed(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url, REVISIONS[0])
    execute(empty_database_url, ROWS_OF_0001)
    migrations.upgrade(empty_database_url)
    execute(empty_database_url, "UPDATE api_request_logs SET closed_at = now(), outcome = 'failed'")
    assert rows(empty_database_url, "SELECT count(DISTINCT agent_id) FROM audit_events") == [(1,)]
    assert rows(empty_database_url, "SELECT agent_id FROM audit_heads") == [(UUID(int=1),)]
