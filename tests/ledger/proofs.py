"""What tests of the ledger's proof share: a busy ledger, its check, and a hand that reaches past the triggers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from autopay.adapters.postgres import open_ledger
from autopay.domain.audit.events import MismatchReason
from autopay.domain.audit.ledger_check import LedgerCheck
from autopay.domain.audit.report import AuditFinding
from autopay.domain.money import Currency
from autopay.domain.payment.exchange import Reply
from autopay.domain.payment.payment import Rejected
from autopay.domain.request import RequestStatus
from tests.ledger.books import Book, open_book

REHASH = """
DO $$
DECLARE
    each record;
    last bytea := decode(repeat('00', 32), 'hex');
    chain uuid;
BEGIN
    FOR each IN SELECT agent_id, seq, payload FROM audit_events ORDER BY agent_id, seq LOOP
        IF each.agent_id IS DISTINCT FROM chain THEN
            chain := each.agent_id;
            last := decode(repeat('00', 32), 'hex');
        END IF;
        UPDATE audit_events SET previous = last, hash = sha256(last || payload)
        WHERE agent_id = each.agent_id AND seq = each.seq;
        last := sha256(last || each.payload);
        UPDATE audit_heads SET hash = last, seq = each.seq WHERE agent_id = each.agent_id;
    END LOOP;
END $$
"""
"""Every hash anew, and the heads: what somebody does who knows how the chain is made."""


@dataclass
class Tamperer:
    """Somebody who owns the database and goes past its triggers."""

    url: str

    def does(self, statement: LiteralString, *values: object) -> None:
        """Run it without triggers."""
        with psycopg.connect(self.url, autocommit=True) as db:
            db.execute("SET session_replication_role = replica")
            done = db.execute(statement, values)
            assert done.rowcount != 0, "it must do something"

    def edits_payload(self, old: str, new: str) -> None:
        """Change what the events tell, wherever they tell it."""
        self.does(
            "UPDATE audit_events SET payload = convert_to(replace(convert_from(payload, 'UTF8'), %s, %s), 'UTF8') "
            "WHERE position(%s IN convert_from(payload, 'UTF8')) > 0",
            *(old, new, old),
        )

    def rehashes(self) -> None:
        """Make every chain and every counter consistent again."""
        self.does(REHASH)
        self.does("SELECT recount_usage()")


async def findings(url: str) -> Sequence[AuditFinding]:
    """What a check of this ledger, without the chain, finds."""
    ledger = open_ledger(url)
    try:
        async with ledger.audit.snapshot() as snapshot:
            run = LedgerCheck(snapshot)
            await run.run()
    finally:
        await ledger.dispose()
    return run.findings.kept


async def reasons(url: str) -> set[MismatchReason]:
    """The reasons of all findings."""
    return {each.reason for each in await findings(url)}


async def busy(book: Book) -> None:
    """A payment that settled and was delivered, one that died, one that waits, and another agent's."""
    paid = await book.recorded(await book.accepted("paid"))
    await book.delivered(paid)
    await book.settled(paid)
    await book.end(paid.request_key, RequestStatus.DELIVERED)
    dead = await book.recorded(await book.accepted("dead"))
    await book.answered(dead, Rejected(http_status=402, reason="http_402"), Reply(http_status=402))
    await book.ledger.payments.record_dead(dead.attempt_id, "expired_unsettled")
    await book.recorded(await book.accepted("waits"))
    other = await open_book(book.ledger, "other", currency=Currency.CASH)
    await other.ledger.sessions.end(other.session_id)


def rows(url: str, query: LiteralString, *values: object) -> list[tuple[Any, ...]]:
    """What a query finds."""
    with psycopg.connect(url) as db:
        return db.execute(query, values).fetchall()


def payloads(url: str) -> list[dict[str, Any]]:
    """Every event's payload, in the order of the database."""
    return [json.loads(bytes(row[0])) for row in rows(url, "SELECT payload FROM audit_events ORDER BY id")]
