"""The database's roles, and what each of them may do with the ledger: the least that its programs need.

| role | is for | may |
|---|---|---|
| `autopay_migrate` | migrations, restores, the command line | own every table |
| `autopay_work` | workers | read; add rows; change what a payment's life changes; nothing that rewrites history |
| `autopay_read` | reports, dashboards | read all but what is sealed |
| `autopay_upkeep` | checks, anchors and prunes by schedule | read all; add anchors; throw old content away |

Roles belong to the whole server, so no migration makes them.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Composed, Identifier
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from autopay.adapters.postgres.database.connection import fault_of
from autopay.adapters.postgres.maintenance.server import MAINTENANCE, Server, quoted

Connection = psycopg.Connection[tuple[Any, ...]]


class Role(StrEnum):
    """Who connects."""

    MIGRATE = "autopay_migrate"
    WORK = "autopay_work"
    READ = "autopay_read"
    UPKEEP = "autopay_upkeep"


SEALED = frozenset(
    {"session_token", "sealed_payment", "sealed_extras", "sealed_secret", "sealed_old_secret", "secret_hash"}
)
"""Columns that hold what the vault sealed, and hashes of what callers have to show."""


class May(NamedTuple):
    """Columns that a worker names when it inserts (`*`: any), those that it changes, and whether it deletes rows."""

    insert: str = ""
    update: str = ""
    delete: bool = False


WORK: Mapping[str, May] = {
    "alembic_version": May(),
    "policies": May(),
    "agents": May(update="autonomy_phase priority_rules updated_at"),
    "sessions": May(update="status session_token"),
    "api_request_logs": May(
        insert="*",
        update="response_status x402_instructions retry_attempts success_payload transaction_id circuit_breaker_state "
        "delivery conflict outcome error_code error_message result content_type body body_sha256 content_complete "
        "content_encoding content_location price pay_to answered_at closed_at",
    ),
    "priority_queue": May(insert="*", update="processed_at"),
    "transactions": May(
        insert="*",
        update="hash status facilitator_response error_type backoff_delay verification_hash claims sends "
        "settled_sends sent_at last_answer error_code slot updated_at",
    ),
    "balance_snapshots": May(insert="*"),
    "counterparties": May(insert="*"),
    "approvals": May(insert="*", update="status decided_at attempt_id"),
    "fences": May(insert="id reason"),
    "key_checks": May(insert="version check_value"),
    "session_usage": May(),
    "day_usage": May(),
    "audit_events": May(),
    "api_tokens": May(update="last_used_at"),
    "page_logins": May(insert="id token_id secret_hash expires_at", update="ended_at"),
    "webhook_endpoints": May(update="cursor failing_since disabled_at disabled_why"),
    "webhook_deliveries": May(
        insert="*", update="type status attempts http_status error tried_at next_at", delete=True
    ),
    "operator_actions": May(
        insert="id agent_id actor via token_id action target details", update="outcome error ended_at"
    ),
}
"""What a worker does with each table beside reading it. A fence it may raise; only a person's command lifts it.
The API works as this role, too: it may let a browser log in by a token, and make none.

Events and counters are written by triggers with their owner's rights: nobody else may do more with them than read them,
or needs any right on the other tables of the proof.
"""

UPKEEP: Mapping[str, May] = {
    "api_request_logs": May(update="body success_payload body_pruned_at"),
    "audit_anchors": May(insert="*", update="status slot"),
    "key_checks": May(insert="version check_value"),
    "operator_actions": May(
        insert="id agent_id actor via token_id action target details", update="outcome error ended_at"
    ),
}
"""What the upkeep does beside reading, as workers do: nothing of it moves money, and triggers keep what was recorded.

It reads whole rows, as the proof is over them; what is sealed in them stays so without the keyring.
"""

_NEEDED = frozenset({Role.MIGRATE, Role.WORK, Role.READ})
"""Without all of these a server has no roles of ours. The upkeep's came later: servers of before may lack it."""

_KINDS = {
    "TABLE": "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace "
    "AND relkind IN ('r', 'p', 'v', 'm') AND pg_get_userbyid(relowner) <> %s",
    "FUNCTION": "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace "
    "AND pg_get_userbyid(proowner) <> %s",
    "TYPE": "SELECT oid::regtype::text FROM pg_type WHERE typnamespace = current_schema()::regnamespace "
    "AND typtype = 'e' AND pg_get_userbyid(typowner) <> %s",
}
"""What has an owner of its own in the ledger's schema, as text that may stand in a statement."""

_OWNS = text("SELECT bool_or(pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid = to_regclass('transactions')")


def missing_roles(server: Server) -> Sequence[Role]:
    """Those that the server does not have."""
    with server.connected(MAINTENANCE) as db:
        known = _existing(db)
    return [role for role in Role if role not in known]


def make_roles(server: Server, passwords: Mapping[Role, str]) -> Sequence[Role]:
    """Make those of the roles that are not there, with rights on nothing; set the given passwords. Returns the new.

    A role that is there loses what it must not have (superuser, making roles, passing row security).

    Raises:
        RightsMissing: the administrator may not make roles.
    """
    with server.connected(MAINTENANCE) as db, db.transaction():
        known = _existing(db)
        for role in Role:
            makes = "CREATEDB" if role is Role.MIGRATE else "NOCREATEDB"  # a restore makes a database
            if role not in known:
                db.execute(quoted("CREATE ROLE {} LOGIN", role) + SQL(" " + makes))
            elif _too_mighty(db, role):
                db.execute(
                    quoted("ALTER ROLE {} NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS", role) + SQL(" " + makes)
                )
            if role in passwords:
                # As the verifier that the server keeps: the password itself is in no statement, and so in no log.
                verifier = db.pgconn.encrypt_password(passwords[role].encode(), role.encode(), b"scram-sha-256")
                db.execute(quoted("ALTER ROLE {} PASSWORD ", role) + SQL("{}").format(verifier.decode()))
        for role in (Role.WORK, Role.READ, Role.UPKEEP):  # whose connections a restore must end
            if not _is_member(db, Role.MIGRATE, role):
                db.execute(quoted("GRANT {} TO {}", role, Role.MIGRATE))
    return [role for role in Role if role not in known]


def apply_rights(server: Server, database: str | None = None) -> bool:
    """Give the ledger to `autopay_migrate`, and to the others exactly their rights. False when there are no roles.

    One transaction; again it changes nothing. Who owned the ledger so far becomes a member of its new owner.

    Raises:
        RightsMissing: the administrator does not own the ledger.
    """
    with server.connected(database) as db, db.transaction():
        there = _existing(db)
        if not there >= _NEEDED:
            return False
        _hand_over(db)
        name, schema = db.execute("SELECT current_database(), current_schema()").fetchone() or ("", "")
        db.execute(quoted("REVOKE ALL ON DATABASE {} FROM PUBLIC", name))
        db.execute(quoted("REVOKE CREATE ON SCHEMA {} FROM PUBLIC", schema))
        for role in sorted(there - {Role.MIGRATE}):
            db.execute(quoted("GRANT CONNECT ON DATABASE {} TO {}", name, role))
            db.execute(quoted("GRANT USAGE ON SCHEMA {} TO {}", schema, role))
            # Revoking a table's rights revokes its columns' too.
            db.execute(quoted("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}", schema, role))
        _close_functions(db)
        for table, columns in _columns(db).items():
            for statement in (*_of(Role.WORK, WORK, table, columns), _of_reader(table, columns)):
                db.execute(statement)
            if Role.UPKEEP in there:
                for statement in _of(Role.UPKEEP, {table: UPKEEP.get(table, May())}, table, columns):
                    db.execute(statement)
    return True


async def may_alter_history(engine: AsyncEngine) -> bool:
    """Whether this connection's role owns the tables, so that no trigger and no right stands in its way.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    try:
        async with engine.connect() as connection:
            return bool(await connection.scalar(_OWNS))
    except (SQLAlchemyError, OSError) as error:
        raise fault_of(error) or error from error


def _existing(db: Connection) -> set[str]:
    rows = db.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [list(Role)])
    return {row[0] for row in rows}


def _too_mighty(db: Connection, role: Role) -> bool:
    row = db.execute(
        "SELECT rolsuper OR rolcreaterole OR rolreplication OR rolbypassrls OR rolcreatedb <> %s "
        "FROM pg_roles WHERE rolname = %s",
        [role is Role.MIGRATE, role],
    ).fetchone()
    return bool(row and row[0])


def _is_member(db: Connection, member: str, role: str) -> bool:
    row = db.execute("SELECT pg_has_role(%s, %s, 'MEMBER')", [member, role]).fetchone()
    return bool(row and row[0])


def _hand_over(db: Connection) -> None:
    """Everything in the schema to `autopay_migrate`, the database too."""
    name, owner, mighty = db.execute(
        "SELECT datname, rolname, rolsuper FROM pg_database JOIN pg_roles ON pg_roles.oid = datdba "
        "WHERE datname = current_database()"
    ).fetchone() or ("", "", True)
    if not mighty and owner != Role.MIGRATE and not _is_member(db, owner, Role.MIGRATE):
        db.execute(quoted("GRANT {} TO {}", Role.MIGRATE, owner))
    schema = db.execute(
        "SELECT nspname FROM pg_namespace WHERE nspname = current_schema() "
        "AND pg_get_userbyid(nspowner) NOT IN (%s, 'pg_database_owner')",
        [Role.MIGRATE],
    ).fetchone()
    if schema is not None:
        db.execute(quoted("ALTER SCHEMA {} OWNER TO {}", schema[0], Role.MIGRATE))
    if owner != Role.MIGRATE:
        db.execute(quoted("ALTER DATABASE {} OWNER TO {}", name, Role.MIGRATE))
    for kind, query in _KINDS.items():
        for (each,) in db.execute(query, [Role.MIGRATE]).fetchall():
            db.execute(SQL(f"ALTER {kind} {each} OWNER TO ") + Identifier(Role.MIGRATE))


def _close_functions(db: Connection) -> None:
    """What runs with its owner's rights is for triggers: nobody may put it on a table of their own."""
    found = db.execute(
        "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace AND prosecdef"
    ).fetchall()
    for (each,) in found:
        db.execute(SQL(f"REVOKE ALL ON FUNCTION {each} FROM PUBLIC"))


def _columns(db: Connection) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    rows = db.execute(
        "SELECT relname, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid "
        "WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 "
        "AND NOT attisdropped ORDER BY relname, attnum"
    )
    for table, column in rows:
        found.setdefault(table, []).append(column)
    return found


def _of(role: Role, rights: Mapping[str, May], table: str, columns: Sequence[str]) -> Sequence[Composed]:
    if table not in rights:
        return []
    may = rights[table]
    grants: list[Composed] = [quoted("GRANT SELECT ON {} TO {}", table, role)]
    if may.delete:
        grants.append(quoted("GRANT DELETE ON {} TO {}", table, role))
    if may.insert == "*":
        grants.append(quoted("GRANT INSERT ON {} TO {}", table, role))
    for verb, named in (("INSERT", may.insert.split()), ("UPDATE", may.update.split())):
        there = [column for column in named if column in columns]  # an older schema has not all of them
        if there:
            grants.append(_of_columns(verb, there, table, role))
    return grants


def _of_reader(table: str, columns: Sequence[str]) -> Composed:
    return _of_columns("SELECT", [column for column in columns if column not in SEALED], table, Role.READ)


def _of_columns(verb: str, columns: Sequence[str], table: str, role: Role) -> Composed:
    named = SQL(", ").join(map(Identifier, columns))
    return SQL("GRANT {} ({}) ON {} TO {}").format(
        SQL(verb),
        named,
        Identifier(table),
        Identifier(role),
    )
