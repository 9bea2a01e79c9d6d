"""How Alembic reaches the ledger's database: by the URL of its caller, or by the settings."""

from logging.config import fileConfig

from alembic import context
from sqlalchemy import text

from autopay.adapters.postgres.database.connection import open_plain_engine
from autopay.adapters.postgres.tables.core import Base
from autopay.settings import Settings

UPGRADE_LOCK = 0x6175746F706179  # "autopay": one migration at a time, whoever starts it


def _database_url() -> str:
    given = context.config.attributes.get("database_url")
    return str(given) if given else Settings.load().resolve("database_url").database_url


def _migrate() -> None:
    if context.config.config_file_name is not None:
        fileConfig(context.config.config_file_name, disable_existing_loggers=False)
    if context.is_offline_mode():
        context.configure(
            dialect_name="postgresql",
            target_metadata=Base.metadata,
            literal_binds=True,
            dialect_opts={"paramstyle": "named"},  # a percent sign is one
        )
        with context.begin_transaction():
            context.run_migrations()
        return
    engine = open_plain_engine(_database_url(), statement_timeout_s=0)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
        with context.begin_transaction():
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
            context.run_migrations()
    engine.dispose()


_migrate()
