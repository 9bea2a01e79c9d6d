"""What sessions have used and agents spent a day, as rows; indexes of what else a reservation reads.

Revision: 0010_usage, after 0009_key_checks

No reservation sums over payments any more: its cost does not grow with them. The SQL is in `alembic/sql/`.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0010_usage"
down_revision = "0009_key_checks"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"

COUNTS = {
    "created": "INSERT ON transactions FOR EACH ROW WHEN (NEW.status <> 'FAILED')",
    "failed": "UPDATE ON transactions FOR EACH ROW WHEN (OLD.status <> 'FAILED' AND NEW.status = 'FAILED')",
}
"""A payment counts from its reservation until it is proven not to have settled, and FAILED is final."""

TABLES = ("session_usage", "day_usage")


def upgrade() -> None:
    """Two tables of counters, filled from the payments that are there; then the triggers that move them."""
    op.execute("LOCK TABLE transactions IN SHARE ROW EXCLUSIVE MODE")
    _create_tables()
    for statement in (SQL / "0010_usage.sql").read_text().split("\n\n\n"):
        op.execute(statement)
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER by_payments_only BEFORE INSERT OR UPDATE OR DELETE ON {table} "
            "WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION guard_usage()"
        )
        op.execute(f"CREATE TRIGGER append_only BEFORE TRUNCATE ON {table} EXECUTE FUNCTION guard_usage()")
    op.execute("SELECT recount_usage()")
    for verb, moment in COUNTS.items():
        op.execute(f"CREATE TRIGGER usage_{verb} AFTER {moment} EXECUTE FUNCTION move_usage()")
    _create_indexes()


def downgrade() -> None:
    """Back to sums over the payments, which are all there."""
    op.drop_index("ix_approvals_x402_request_id_created_at", "approvals")
    op.drop_index(op.f("ix_priority_queue_api_request_id"), "priority_queue")
    op.drop_index("ix_priority_queue_agent_id_waiting", "priority_queue")
    op.drop_index("ix_transactions_memo_forgotten", "transactions")
    op.drop_index("ix_transactions_session_id_open", "transactions")
    op.execute("DROP FUNCTION move_usage() CASCADE")  # with its triggers
    op.execute("DROP FUNCTION recount_usage()")
    for table in TABLES:
        op.drop_table(table)
    op.execute("DROP FUNCTION guard_usage()")


def _create_tables() -> None:
    op.create_table(
        "session_usage",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        *_counts(),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_session_usage")),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_session_usage_session_id_sessions")),
        postgresql_with={"fillfactor": 50},  # room for the next version of a row on the same page
    )
    op.create_table(
        "day_usage",
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        *_counts(),
        sa.PrimaryKeyConstraint("agent_id", "day", "host", name=op.f("pk_day_usage")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_day_usage_agent_id_agents")),
        postgresql_with={"fillfactor": 50},
    )


def _counts() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("payments", sa.BigInteger(), nullable=False),
        sa.Column("spent", sa.Numeric(20, 6), nullable=False),
    )


def _create_indexes() -> None:
    """To the few rows that matter among millions: what is open, what was forgotten, what waits, what was asked."""
    op.create_index(
        "ix_transactions_session_id_open",
        "transactions",
        ["session_id"],
        postgresql_where=sa.text("status IN ('PENDING', 'RETRYING', 'SUCCESS')"),
    )
    op.create_index(
        "ix_transactions_memo_forgotten",
        "transactions",
        ["memo"],
        postgresql_where=sa.text("error_code = 'booked_after_restore'"),
    )
    op.create_index(
        "ix_priority_queue_agent_id_waiting",
        "priority_queue",
        ["agent_id"],
        postgresql_where=sa.text("processed_at IS NULL"),
    )
    op.create_index(op.f("ix_priority_queue_api_request_id"), "priority_queue", ["api_request_id"])
    op.create_index("ix_approvals_x402_request_id_created_at", "approvals", ["x402_request_id", "created_at"])
