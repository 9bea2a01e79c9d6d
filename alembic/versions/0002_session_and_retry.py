"""Sessions, the wait before a resend, and the breaker's state beside a request.

Revision: 0002_session_and_retry, after 0001_initial_autopay_schema
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_session_and_retry"
down_revision = "0001_initial_autopay_schema"
branch_labels = None
depends_on = None

ENUMS = {
    "session_status": ("ACTIVE", "EXPIRED", "REVOKED"),
    "circuit_breaker_state": ("OPEN", "CLOSED", "HALF_OPEN"),
}


def upgrade() -> None:
    """Sessions go with their agent; payments keep theirs."""
    for name, values in ENUMS.items():
        op.execute(f"CREATE TYPE {name} AS ENUM {values}")
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("session_token", sa.Text(), nullable=False),
        sa.Column("scope", postgresql.JSONB(), nullable=False),
        sa.Column("status", postgresql.ENUM(name="session_status", create_type=False), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.id"], name=op.f("fk_sessions_agent_id_agents"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_sessions_agent_id_expires_at"), "sessions", ["agent_id", "expires_at"])
    op.add_column("transactions", sa.Column("backoff_delay", sa.Integer()))
    op.add_column("transactions", sa.Column("session_id", sa.Uuid()))
    op.create_foreign_key(
        op.f("fk_transactions_session_id_sessions"), "transactions", "sessions", ["session_id"], ["id"]
    )
    op.create_index(op.f("ix_transactions_session_id"), "transactions", ["session_id"])
    breaker = postgresql.ENUM(name="circuit_breaker_state", create_type=False)
    op.add_column("api_request_logs", sa.Column("circuit_breaker_state", breaker))


def downgrade() -> None:
    """Sessions and the columns that refer to them are dropped; payments stay."""
    op.drop_column("api_request_logs", "circuit_breaker_state")
    op.drop_index(op.f("ix_transactions_session_id"), "transactions")
    op.drop_constraint(op.f("fk_transactions_session_id_sessions"), "transactions")
    op.drop_column("transactions", "session_id")
    op.drop_column("transactions", "backoff_delay")
    op.drop_table("sessions")
    for name in reversed(ENUMS):
        op.execute(f"DROP TYPE {name}")
