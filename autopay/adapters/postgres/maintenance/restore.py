"""Brings a backup back as the ledger, behind a fence: what was paid after it is on the chain and not in it.

| crash at | leaves |
|---|---|
| before the rename commits | the ledger as it was, or none; a database NAME_restoring_TIME, which can be dropped |
| after it | the restored ledger behind its fence; the old one as NAME_before_TIME |

The fence is up before the restored database has the ledger's name: no worker ever sees it without.
What was forgotten is booked by `autopay.domain.reconcile.rebook`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from alembic.util.exc import CommandError as AlembicError

from autopay.adapters.postgres.maintenance.backup import BackupUnreadable, time_of
from autopay.adapters.postgres.maintenance.migrations import head, upgrade
from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, missing_roles
from autopay.adapters.postgres.maintenance.server import MAINTENANCE, RightsMissing, Server, quoted
from autopay.domain.errors import Fault, LedgerUnavailable
from autopay.domain.values import Value
from autopay.uuid7 import uuid7

PAST = 0
"""Below every transaction's number. Events of a backup have the numbers of a server that may have counted further:
readers, which read by (number, id) up to the oldest transaction that is open, would not see them or not in order."""

_LONGEST_NAME = 63 - len("_restoring_20260101_000000_000")
_END_POLL_S = 0.1

Report = Callable[[str], None]


class Restored(Value):
    """What is the ledger now; `kept_as` is the database that was before, `leftovers` those of interrupted restores."""

    database: str
    fence: str
    events: int
    kept_as: str | None
    leftovers: tuple[str, ...]


def restore_file(server: Server, file: Path, report: Report) -> Restored:
    """Read a backup into a new database, and make it the ledger.

    Raises:
        BackupUnreadable: it is none, or of a newer version.
        RightsMissing: the administrator may not make databases.
        LedgerUnavailable, ProgramMissing, ProgramFailed: the ledger is as it was.
    """
    taken_at = time_of(file)
    name = f"{_prefix(server)}_restoring_{_stamp()}"
    owner = _owner(server)
    with server.connected(MAINTENANCE) as db:
        db.execute(quoted("CREATE DATABASE {} TEMPLATE template0 OWNER {}", name, owner))
    try:
        with server.connected(MAINTENANCE) as db:
            db.execute(quoted("REVOKE ALL ON DATABASE {} FROM PUBLIC", name))
        report(f"reading {file.name} into the database {name}")
        plain = ("--no-owner", "--no-privileges", f"--role={owner}", "--exit-on-error", "--single-transaction")
        server.run("pg_restore", *plain, str(file), database=name)
        return _take_over(server, name, owner, f"restored from {file.name}, a backup of {taken_at:%F %T} UTC", report)
    except BaseException:
        with suppress(Fault, psycopg.Error), server.connected(MAINTENANCE) as db:  # else the next run tells of it
            db.execute(quoted("DROP DATABASE IF EXISTS {} WITH (FORCE)", name))
        raise


def restore_database(server: Server, name: str, report: Report) -> Restored:
    """Make a database of the same server the ledger, into which a backup has been read by other means.

    Raises:
        LedgerUnavailable: there is no such database.
        RightsMissing: the administrator does not own it, or may not make databases.
    """
    return _take_over(server, name, None, f"restored from the database {name}", report)


def _take_over(server: Server, name: str, owner: str | None, reason: str, report: Report) -> Restored:
    report("bringing its schema to this version, and raising the fence")
    try:
        upgrade(server.url(name, owner))
    except AlembicError as error:
        raise BackupUnreadable(f"{error}; the newest revision here is {head()}") from error
    events = _fence_off(server, name, owner, reason)
    apply_rights(server, name)
    kept_as = _swap(server, name, report)
    return Restored(database=server.name, fence=reason, events=events, kept_as=kept_as, leftovers=leftovers(server))


def leftovers(server: Server) -> tuple[str, ...]:
    """Databases that interrupted restores left behind."""
    prefix = f"{_prefix(server)}_restoring_"
    return tuple(each for each in server.databases() if each.startswith(prefix))


def _fence_off(server: Server, name: str, owner: str | None, reason: str) -> int:
    """All events into the past, and a fence of this restore; returns how many events.

    A fence that the backup has is of another time: the height up to which it waits is that of then.
    """
    with server.connected(name, owner) as db, db.transaction():
        db.execute("ALTER TABLE audit_events DISABLE TRIGGER USER")
        db.execute("UPDATE audit_events SET xid = %s WHERE xid <> %s", [PAST, PAST])
        db.execute("ALTER TABLE audit_events ENABLE TRIGGER USER")
        events = db.execute("SELECT count(*) FROM audit_events").fetchone() or (0,)
        db.execute(
            "UPDATE fences SET lifted_at = clock_timestamp(), lifted_why = %s WHERE lifted_at IS NULL",
            ["another fence takes its place"],
        )
        db.execute("INSERT INTO fences (id, reason) VALUES (%s, %s)", [uuid7(), reason])
    return int(events[0])


def _swap(server: Server, name: str, report: Report) -> str | None:
    """Give the restored database the ledger's name, and the one that has it another, in one transaction."""
    if name == server.name:
        return None
    kept_as = f"{_prefix(server)}_before_{_stamp()}"
    with server.connected(MAINTENANCE) as db:
        invalid = "SELECT 1 FROM pg_database WHERE datname = %s AND datconnlimit = -2"  # half dropped: of no more use
        if db.execute(invalid, [server.name]).fetchone() is not None:
            db.execute(quoted("DROP DATABASE {}", server.name))
        present = db.execute("SELECT oid FROM pg_database WHERE datname = %s", [server.name]).fetchone()
        try:
            with _ending_connections(server, present[0] if present else 0), db.transaction():
                if present is not None:
                    report(f"the database {server.name} becomes {kept_as}")
                    # Locks the name first, so that who was disconnected cannot come back before the commit.
                    db.execute(quoted("ALTER DATABASE {} RENAME TO {}", server.name, kept_as))
                db.execute(quoted("ALTER DATABASE {} RENAME TO {}", name, server.name))
        except psycopg.errors.ObjectInUse as error:
            raise LedgerUnavailable(f"{error.diag.message_primary}: end their connections, and run it again") from error
    return kept_as if present is not None else None


@contextmanager
def _ending_connections(server: Server, oid: int) -> Iterator[None]:
    """End every connection to that database, again and again, as far as the role may."""
    done = threading.Event()

    def end() -> None:
        with suppress(LedgerUnavailable), server.connected(MAINTENANCE) as db:  # the other connection tells of it
            while not done.is_set():
                db.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datid = %s AND pg_has_role(usesysid, 'USAGE')",
                    [oid],
                )
                done.wait(_END_POLL_S)

    ending = threading.Thread(target=end, name="ending connections")
    ending.start()
    try:
        yield
    finally:
        done.set()
        ending.join()


def _owner(server: Server) -> str:
    """Whose the restored tables are: the role's for that, else the ledger's own."""
    if Role.MIGRATE not in missing_roles(server):
        return Role.MIGRATE
    if server.ledger_user is not None:
        return server.ledger_user
    with server.connected(MAINTENANCE) as db:
        row = db.execute("SELECT current_user").fetchone()
    if row is None:
        raise RightsMissing("the server does not say who connects")
    return str(row[0])


def _prefix(server: Server) -> str:
    return server.name[:_LONGEST_NAME]


def _stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%d_%H%M%S_%f}"[:-3]
