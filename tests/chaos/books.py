"""The auditor's own reading of the ledger, by plain SQL: sessions, requests, attempts.

What must not live here: anything of autopay, and judgement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import class_row

_ENDED = """
    SELECT a.name || '/' || r.request_id FROM api_request_logs r JOIN agents a ON a.id = r.agent_id
    WHERE r.closed_at IS NOT NULL
"""

_UNFINISHED = """
    SELECT (SELECT count(*) FROM api_request_logs WHERE closed_at IS NULL)
         + (SELECT count(*) FROM transactions WHERE status NOT IN ('VERIFIED', 'FAILED'))
         + (SELECT count(*) FROM priority_queue WHERE processed_at IS NULL)
"""

_SESSIONS = """
    SELECT s.id::text AS session_id, a.name AS agent, s.currency::text AS currency, s.source_account AS account,
           s.public_key AS authority, (s.allowance * 1000000)::bigint AS allowance_atomic,
           (s.scope ->> 'txLimit')::int AS tx_limit
    FROM sessions s JOIN agents a ON a.id = s.agent_id ORDER BY a.name, s.currency::text
"""

_REQUESTS = """
    SELECT a.name || '/' || r.request_id AS name, r.x402_request_id AS key, r.outcome AS outcome,
           r.delivery::text AS delivery, r.closed_at IS NOT NULL AS closed, r.body AS body,
           r.body_sha256 AS body_sha256, r.error_code AS error, r.method::text AS method, r.url AS url,
           r.result AS result
    FROM api_request_logs r JOIN agents a ON a.id = r.agent_id ORDER BY r.request_id
"""

_ATTEMPTS = """
    SELECT t.x402_request_id AS key, t.attempt_number AS number, t.session_id::text AS session_id,
           t.status::text AS status, t.hash AS signature, t.memo AS memo, t.currency::text AS currency,
           (t.amount * 1000000)::bigint AS amount_atomic, t.last_valid_block_height AS last_valid_height,
           t.destination_account AS destination, t.error_code AS error
    FROM transactions t ORDER BY t.created_at
"""


@dataclass(frozen=True)
class Session:
    """A key that may pay, and its limits."""

    session_id: str
    agent: str
    currency: str
    account: str
    authority: str
    allowance_atomic: int
    tx_limit: int


@dataclass(frozen=True)
class Request:
    """A request; `name` is agent/request_id, `key` its x402_request_id."""

    name: str
    key: str
    outcome: str | None
    delivery: str
    closed: bool
    body: bytes | None
    body_sha256: str | None
    error: str | None
    method: str
    url: str
    result: dict[str, Any] | None


@dataclass(frozen=True)
class Attempt:
    """A signed payment."""

    key: str
    number: int
    session_id: str
    status: str
    signature: str | None
    memo: str | None
    currency: str
    amount_atomic: int
    last_valid_height: int
    destination: str
    error: str | None


@dataclass(frozen=True)
class Books:
    """One snapshot of the ledger."""

    sessions: Sequence[Session]
    requests: Sequence[Request]
    attempts: Sequence[Attempt]


def read_books(database_url: str) -> Books:
    """All of it, in one transaction that sees one state."""
    with psycopg.connect(database_url) as db:
        db.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return Books(
            db.cursor(row_factory=class_row(Session)).execute(_SESSIONS).fetchall(),
            db.cursor(row_factory=class_row(Request)).execute(_REQUESTS).fetchall(),
            db.cursor(row_factory=class_row(Attempt)).execute(_ATTEMPTS).fetchall(),
        )


def ended(db: psycopg.Connection[Any]) -> tuple[frozenset[str], int]:
    """The names of the requests that have ended, and how many things of any kind have not."""
    names = frozenset(row[0] for row in db.execute(_ENDED))
    row = db.execute(_UNFINISHED).fetchone()
    assert row is not None
    return names, int(row[0])
