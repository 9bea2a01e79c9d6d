"""A backup of the ledger: a dump of one moment, checked before it has its name.

| crash at | leaves |
|---|---|
| before the rename | FILE.partial, which is no backup; the next run writes it anew |
| after it | the backup |
"""

import os
import re
from datetime import UTC, datetime
from pathlib import Path

from autopay.adapters.postgres.maintenance.server import ProgramFailed, Server, find_program, run_program
from autopay.domain.errors import PermanentFault
from autopay.domain.values import Value

_CREATED = re.compile(r"^; Archive created at (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", re.MULTILINE)


class BackupUnreadable(PermanentFault):
    """The file is no backup that can be read: a dump in pg_dump's custom format is."""


class Backup(Value):
    """A backup and what is in it; `chains` counts the heads of the events' chains. A schema of old has no events."""

    file: Path
    taken_at: datetime
    size_bytes: int
    events: int
    chains: int


def back_up(server: Server, file: Path) -> Backup:
    """Write the ledger as it is at this moment, while it goes on; the file is its owner's only.

    Raises:
        LedgerUnavailable, ProgramMissing, ProgramFailed, BackupUnreadable: there is no new backup.
        OSError: nor can it be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = file.with_name(file.name + ".partial")
    with server.connected() as db, db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot, taken_at, proven = db.execute(
            "SELECT pg_export_snapshot(), now(), to_regclass('audit_events') IS NOT NULL"
        ).fetchone() or ("", datetime.now(UTC), False)
        events = chains = 0
        if proven:
            counts = "SELECT (SELECT count(*) FROM audit_events), (SELECT count(*) FROM audit_heads)"
            events, chains = db.execute(counts).fetchone() or (0, 0)
        server.run("pg_dump", "--format=custom", f"--file={partial}", f"--snapshot={snapshot}")
    time_of(partial)
    _sync(partial)
    partial.rename(file)
    _sync(file.parent)
    return Backup(file=file, taken_at=taken_at, size_bytes=file.stat().st_size, events=events, chains=chains)


def time_of(file: Path) -> datetime:
    """When the backup was taken; reads its table of contents.

    Raises:
        ProgramMissing: there is no pg_restore.
        BackupUnreadable: nor is this a backup.
    """
    try:
        contents = run_program(find_program("pg_restore"), "--list", str(file))
    except ProgramFailed as error:
        raise BackupUnreadable(f"{file}: {error}") from error
    created = _CREATED.search(contents)
    if created is None:
        raise BackupUnreadable(f"{file}: it does not say when it was made")
    return datetime.fromisoformat(created[1]).replace(tzinfo=UTC)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
