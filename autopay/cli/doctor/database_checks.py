"""Checks of the database as a server: whether it answers, what it is at, and who we are there."""

from sqlalchemy import text

from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.maintenance import migrations
from autopay.adapters.postgres.maintenance.rights import role_facts, server_facts
from autopay.cli.doctor.machine_checks import size_text
from autopay.cli.doctor.parts import Parts
from autopay.cli.doctor.results import Observation, failed, unknown, warning, well, worst
from autopay.domain.errors import DatabaseUrlWrong, LedgerUnavailable
from autopay.domain.text.command_line import command_line

MANY_CONNECTIONS = 0.9
"""Of those that the server takes: a worker opens up to 20 more."""


async def look_at_database(parts: Parts) -> Observation:
    """Whether it answers."""
    if parts.ledger is None:
        return unknown("AUTOPAY_DATABASE_URL is not set")
    try:
        async with parts.ledger.database.transaction() as db:
            name, role = (await db.execute(text("SELECT current_database(), current_user"))).one()
    except (LedgerUnavailable, DatabaseUrlWrong) as fault:
        remedy = "see that PostgreSQL runs, and that AUTOPAY_DATABASE_URL has its host, database, user and password"
        return failed(str(fault), remedy)
    return well(f"{name}, as role {role}")


async def look_at_server(parts: Parts) -> Observation:
    """Whether it can be written to, keeps what it has committed, and has room for connections."""
    facts = await server_facts(parts.books.database)
    found = []
    if facts.is_standby:
        found.append(failed("it is a standby, which takes no writes", "name the primary in AUTOPAY_DATABASE_URL"))
    elif facts.reads_only:
        remedy = "ALTER DATABASE or ALTER ROLE ... RESET default_transaction_read_only"
        found.append(failed("its transactions only read (default_transaction_read_only)", remedy))
    if not facts.fsync:
        remedy = "set fsync = on: after a crash of the machine a payment could be forgotten, and be paid again"
        found.append(failed("fsync is off", remedy))
    if not facts.full_page_writes:
        found.append(warning("full_page_writes is off", "set it on, unless the disk writes pages whole"))
    if facts.connections >= MANY_CONNECTIONS * facts.most_connections:
        seen = f"{facts.connections} of {facts.most_connections} connections are in use"
        found.append(warning(seen, "raise max_connections, or end programs that hold many"))
    used = f"{facts.connections} of {facts.most_connections} connections"
    return worst(found, f"PostgreSQL {facts.version}, {size_text(facts.size_bytes)}, {used}")


async def look_at_migrations(parts: Parts) -> Observation:
    """Whether its schema is this version's."""
    now, newest = await parts.books.maintenance.schema_revision(), migrations.head()
    if now == newest:
        return well(f"at {now}")
    if now is None:
        return failed("it was never migrated", command_line("db", "upgrade"))
    if not migrations.is_known(now):
        return failed(f"it is at {now}, which is newer than this version", "install the version of your workers here")
    return failed(f"it is at {now}, this version needs {newest}", command_line("db", "upgrade"))


async def look_at_role(parts: Parts) -> Observation:
    """Whether AUTOPAY_DATABASE_URL's role may what a worker must, and no more."""
    facts = await role_facts(parts.books.database)
    make = f"give workers autopay_work, which {command_line('db', 'roles')} makes; commands go on with this one"
    if facts.missing:
        shown = ", ".join(facts.missing[:3])
        more = f" and {len(facts.missing) - 3} more" if len(facts.missing) > 3 else ""
        remedy = f"name another role in AUTOPAY_DATABASE_URL, or give it its rights: {command_line('db', 'roles')}"
        return failed(f"{facts.name} may not {shown}{more}", remedy)
    if facts.is_superuser:
        return warning(f"{facts.name} is a superuser: nothing keeps it from changing what was recorded", make)
    if facts.owns_tables:
        return warning(f"{facts.name} owns the tables: nothing keeps it from changing what was recorded", make)
    return well(f"{facts.name}, which may work and not change what was recorded")


async def look_at_read_role(parts: Parts) -> Observation:
    """Whether AUTOPAY_READ_DATABASE_URL is the same database, as a role that cannot write."""
    url = parts.settings.read_database_url
    if not url:
        return well("AUTOPAY_READ_DATABASE_URL is not set: `serve` reads as the other role")
    theirs = open_ledger(url, reads_only=True)
    try:
        mine, other = await server_facts(parts.books.database), await server_facts(theirs.database)
        if mine.identity != other.identity:
            remedy = "name the database of AUTOPAY_DATABASE_URL, or a standby of it, in AUTOPAY_READ_DATABASE_URL"
            return failed("it is another database than AUTOPAY_DATABASE_URL's", remedy)
        async with theirs.database.transaction() as db:
            name, may_write, may_read = (await db.execute(_READER)).one()
    except (LedgerUnavailable, DatabaseUrlWrong) as fault:
        said = str(fault).replace("AUTOPAY_DATABASE_URL", "AUTOPAY_READ_DATABASE_URL")
        return failed(said, "check AUTOPAY_READ_DATABASE_URL")
    finally:
        await theirs.dispose()
    if not may_read:
        return failed(f"{name} may not read the ledger", f"give it its rights: {command_line('db', 'roles')}")
    if may_write:
        return warning(f"{name} may write, too", "name the role autopay_read in AUTOPAY_READ_DATABASE_URL")
    return well(f"{name}, which only reads")


_READER = text(
    "SELECT current_user, has_any_column_privilege(to_regclass('transactions'), 'INSERT, UPDATE'), "
    "has_any_column_privilege(to_regclass('transactions'), 'SELECT')"
)
