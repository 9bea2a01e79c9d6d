"""Every change of the ledger is an event in its agent's chain, told whole and without secrets."""

import asyncio
import hashlib
import json
from uuid import UUID

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.postgres.maintenance import migrations
from autopay.domain.audit.events import GENESIS, NO_AGENT
from autopay.domain.phase import Phase
from tests.ledger.books import JSON_REPLY, Book, open_book
from tests.ledger.proofs import busy, findings, payloads, rows
from tests.ledger.test_migrations import REVISIONS, ROWS_OF_0001, execute

HERE = "SELECT agent_id, seq, previous, payload, hash FROM audit_events ORDER BY agent_id, seq"


async def test_a_busy_ledger_proves_itself(book: Book, database_url: str) -> None:
    await busy(book)
    assert await findings(database_url) == []


async def test_each_event_is_hashed_after_the_one_before(book: Book, database_url: str) -> None:
    await busy(book)
    last: dict[UUID, tuple[int, bytes]] = {}
    for agent, seq, previous, payload, digest in rows(database_url, HERE):
        assert (seq - 1, previous) == last.get(agent, (0, GENESIS))
        assert digest == hashlib.sha256(previous + payload).digest()
        last[agent] = seq, digest
    assert len(last) == 2
    heads = rows(database_url, "SELECT agent_id, seq, hash FROM audit_heads")
    assert {row[0]: row[1:] for row in heads} == last


async def test_a_payments_life_is_told_in_order(book: Book, database_url: str) -> None:
    attempt = await book.recorded()
    await book.delivered(attempt)
    await book.settled(attempt)
    told = [each for each in payloads(database_url) if each["row"] == str(attempt.attempt_id)]
    assert [each["kind"] for each in told] == ["transactions.created"] + ["transactions.changed"] * 3
    assert told[0]["values"]["status"] == "PENDING"
    assert told[0]["values"]["message_hash"] == attempt.message_hash
    assert told[1]["values"].keys() == {"sends", "sent_at"}
    assert told[2]["values"]["status"] == "SUCCESS"
    assert told[3]["values"].keys() == {"hash", "slot", "status", "verification_hash"}


async def test_no_event_holds_a_secret_or_a_body(book: Book, database_url: str) -> None:
    await busy(book)
    text = json.dumps(payloads(database_url))
    for secret in ("sealed key", "sealed payment", '"price\\": 42', JSON_REPLY.body.decode()):
        assert secret not in text
    assert hashlib.sha256(JSON_REPLY.body).hexdigest() in text


async def test_what_changes_nothing_that_is_told_writes_no_event(book: Book, database_url: str) -> None:
    await busy(book)
    before = len(payloads(database_url))
    execute(database_url, "UPDATE transactions SET sealed_payment = 'sealed again', backoff_delay = 5")
    execute(database_url, "UPDATE sessions SET session_token = 'sealed again', key_version = '2'")
    execute(database_url, "UPDATE api_request_logs SET body = NULL, success_payload = NULL")
    assert len(payloads(database_url)) == before
    assert await findings(database_url) == []


async def test_a_phase_a_session_and_an_agents_end_are_told(ledger: PostgresLedger, database_url: str) -> None:
    book = await open_book(ledger)
    await ledger.agents.set_phase("buyer", Phase.FULL)
    execute(database_url, "DELETE FROM agents")
    told = [each for each in payloads(database_url) if not each["kind"].startswith("policies.")]
    assert [each["kind"] for each in told] == [
        "agents.created",
        "sessions.created",
        "agents.changed",
        "agents.deleted",
        "sessions.deleted",
    ]
    assert told[2]["values"] == {"autonomy_phase": "FULL"}
    assert told[1]["row"] == told[4]["row"] == str(book.session_id)
    assert await findings(database_url) == []


async def test_what_is_rolled_back_leaves_no_event(book: Book, database_url: str) -> None:
    before = len(payloads(database_url))
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE sessions SET status = 'REVOKED'")
        db.execute("SET CONSTRAINTS ALL IMMEDIATE")
        db.rollback()
    assert len(payloads(database_url)) == before
    await book.recorded()
    assert await findings(database_url) == []


async def test_agents_do_not_wait_for_each_others_commit(ledger: PostgresLedger, database_url: str) -> None:
    first, second = await open_book(ledger, "first"), await open_book(ledger, "second")
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE sessions SET status = 'EXPIRED' WHERE id = %s", [first.session_id])
        db.execute("SET CONSTRAINTS ALL IMMEDIATE")  # from here on it holds the head of its chain
        await asyncio.wait_for(second.recorded(), 5)
        waits = asyncio.create_task(ledger.agents.set_phase("first", Phase.FULL))
        done, _ = await asyncio.wait([waits], timeout=0.2)
        assert not done
        db.commit()
    await waits
    assert await findings(database_url) == []


async def test_transactions_over_many_chains_do_not_deadlock(ledger: PostgresLedger, database_url: str) -> None:
    for number in range(6):
        await open_book(ledger, f"agent-{number}")

    async def touch_all(agents: list[UUID]) -> None:
        policy = "INSERT INTO policies (id, agent_id, policy) VALUES (gen_random_uuid(), %s, '{}')"
        async with await psycopg.AsyncConnection.connect(database_url) as db:
            for _ in range(15):
                await db.cursor().executemany(policy, [[agent] for agent in agents])
                await db.commit()

    before = len(payloads(database_url))
    agents = [row[0] for row in rows(database_url, "SELECT id FROM agents ORDER BY name")]
    await asyncio.gather(*(touch_all(order) for order in (agents, agents[::-1]) * 2))
    assert len(payloads(database_url)) == before + 4 * 15 * 6
    assert await findings(database_url) == []


async def test_a_payee_is_told_in_the_chain_of_who_pays_it_first_and_else_in_nobodys(
    book: Book, database_url: str
) -> None:
    add = (
        "INSERT INTO counterparties (id, network, origin, pay_to, accepted_by) "
        "VALUES (gen_random_uuid(), %s, %s, 'payee', 'somebody')"
    )
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE sessions SET status = 'EXPIRED'")
        db.execute(add, ["DEVNET", "https://paid.test:443/"])
    with psycopg.connect(database_url) as db:
        db.execute(add, ["DEVNET", "https://known.test:443/"])
        db.execute("INSERT INTO policies (id, policy) VALUES (gen_random_uuid(), '{}')")
    agent = rows(database_url, "SELECT id FROM agents")[0][0]
    told = {each["values"].get("origin", "policy"): each["agent"] for each in payloads(database_url)[-4:]}
    assert told["https://paid.test:443/"] == str(agent)
    assert (told["https://known.test:443/"], told["policy"]) == (str(NO_AGENT), str(NO_AGENT))
    assert await findings(database_url) == []


def test_rows_of_before_are_adopted(empty_database_url: str) -> None:
    migrations.upgrade(empty_database_url, REVISIONS[0])
    execute(empty_database_url, ROWS_OF_0001)
    migrations.upgrade(empty_database_url)
    told = payloads(empty_database_url)
    assert [each["kind"] for each in told] == [
        "agents.adopted",
        "api_request_logs.adopted",
        "transactions.adopted",
        "transactions.adopted",
    ]
    assert [each["seq"] for each in told] == [1, 2, 3, 4]
    assert asyncio.run(findings(empty_database_url)) == []
    execute(empty_database_url, "UPDATE transactions SET status = 'FAILED' WHERE status = 'PENDING'")
    assert payloads(empty_database_url)[-1]["values"] == {"status": "FAILED"}
    assert asyncio.run(findings(empty_database_url)) == []


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
async def test_a_writers_time_zone_and_search_path_do_not_matter(book: Book, database_url: str, zone: str) -> None:
    with psycopg.connect(database_url) as db:
        db.execute(f"SET timezone = '{zone}'")
        db.execute("CREATE TEMP TABLE audit_heads (agent_id uuid, seq bigint, hash bytea)")
        db.execute("CREATE TEMP TABLE audit_events (agent_id uuid)")
        db.execute("UPDATE sessions SET status = 'EXPIRED'")
        db.execute(
            "INSERT INTO agents (id, name, autonomy_phase, wallet_address) VALUES (%s, 'x', 'DEMO', '')", [UUID(int=5)]
        )
    assert [each["kind"] for each in payloads(database_url)][-2:] == ["sessions.changed", "agents.created"]
    assert await findings(database_url) == []


async def test_a_reader_never_misses_an_event_of_a_slow_transaction(book: Book, database_url: str) -> None:
    readable = (
        "SELECT id FROM audit_events WHERE xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint ORDER BY xid, id"
    )
    other = await open_book(book.ledger, "other")
    with psycopg.connect(database_url) as slow:
        slow.execute("UPDATE sessions SET status = 'EXPIRED' WHERE id = %s", [other.session_id])  # has its number now
        await book.recorded()
        early = rows(database_url, readable)
        slow.commit()
    late = rows(database_url, readable)
    assert late[: len(early)] == early
    assert len(late) == len(payloads(database_url)) > len(early)
