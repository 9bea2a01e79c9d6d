"""What the role of a connection may do with the ledger, and how its database is set up. It reads catalogs only."""

from sqlalchemy import text

from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.maintenance.roles import WORK
from autopay.domain.values import Value

_SERVER = text("""
    SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
           pg_is_in_recovery() AS is_standby,
           (SELECT setting = 'on' FROM pg_settings WHERE name = 'fsync') AS fsync,
           (SELECT setting = 'on' FROM pg_settings WHERE name = 'full_page_writes') AS full_page_writes,
           (SELECT reset_val = 'on' FROM pg_settings WHERE name = 'default_transaction_read_only') AS reads_only,
           (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
           current_setting('max_connections')::int AS most_connections,
           pg_database_size(current_database()) AS size_bytes,
           (SELECT system_identifier FROM pg_control_system())::text || '/' || oid AS identity
    FROM pg_database WHERE datname = current_database()
""")

_ROLE = text("""
    SELECT rolname AS name, rolsuper AS is_superuser,
           coalesce((SELECT bool_or(pg_has_role(relowner, 'USAGE'))
                     FROM pg_class WHERE oid = to_regclass('transactions')), false) AS owns_tables
    FROM pg_roles WHERE rolname = current_user
""")

_MISSING = text("""
    SELECT DISTINCT verb, name
    FROM unnest(CAST(:names AS text[]), CAST(:verbs AS text[]), CAST(:columns AS text[])) AS wanted (name, verb, col)
    WHERE NOT CASE
        WHEN to_regclass(name) IS NULL THEN false
        WHEN verb = 'DELETE' OR col = '' THEN has_table_privilege(to_regclass(name), verb)
        ELSE has_column_privilege(to_regclass(name), col, verb)
    END
    ORDER BY name, verb
""")


class ServerFacts(Value):
    """The server that a connection leads to; `identity` is the same for the same database, and its standbys'."""

    version: str
    is_standby: bool
    reads_only: bool
    fsync: bool
    full_page_writes: bool
    connections: int
    most_connections: int
    size_bytes: int
    identity: str


class RoleFacts(Value):
    """The role of a connection. `missing` is what a worker needs and it may not: `INSERT on transactions`."""

    name: str
    is_superuser: bool
    owns_tables: bool
    missing: tuple[str, ...]


async def server_facts(database: Database) -> ServerFacts:
    """See `ServerFacts`.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    async with database.transaction() as db:
        return ServerFacts.model_validate((await db.execute(_SERVER)).one()._asdict())


async def role_facts(database: Database) -> RoleFacts:
    """See `RoleFacts`; of a database at the newest revision.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    wanted = list(_wanted())
    names, verbs, columns = ([each[place] for each in wanted] for place in range(3))
    async with database.transaction() as db:
        role = (await db.execute(_ROLE)).one()._asdict()
        missing = await db.execute(_MISSING, {"names": names, "verbs": verbs, "columns": columns})
        return RoleFacts(**role, missing=tuple(f"{row.verb} on {row.name}" for row in missing))


def _wanted() -> list[tuple[str, str, str]]:
    """Each right of a worker: table, verb, and column; "" is the whole table."""
    found = []
    for table, may in WORK.items():
        found.append((table, "SELECT", ""))
        if may.delete:
            found.append((table, "DELETE", ""))
        for verb, columns in (("INSERT", may.insert), ("UPDATE", may.update)):
            found += [(table, verb, "" if column == "*" else column) for column in columns.split()]
    return found
