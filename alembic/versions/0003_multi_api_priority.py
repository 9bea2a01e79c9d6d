"""Priorities, the queue, the audit trail in one view, and the verification hash.

Revision: 0003_multi_api_priority, after 0002_session_and_retry
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003_multi_api_priority"
down_revision = "0002_session_and_retry"
branch_labels = None
depends_on = None

AUDIT_TRAIL_VIEW = """
CREATE VIEW audit_trail_view AS
SELECT agent_id, 'transaction' AS kind, id, created_at, status::text AS status, amount, currency,
       NULL::text AS endpoint, hash, x402_request_id, error_type::text AS error
  FROM transactions
UNION ALL
SELECT request.agent_id, 'request', request.id, request.created_at, request.response_status::text,
       payment.amount, payment.currency, request.endpoint, payment.hash, payment.x402_request_id, NULL
  FROM api_request_logs AS request LEFT JOIN transactions AS payment ON payment.id = request.transaction_id
UNION ALL
SELECT agent_id, 'balance', id, snapshot_at, status::text, balance, currency, NULL, NULL, NULL, NULL
  FROM balance_snapshots
"""


def upgrade() -> None:
    """What the scheduling of several APIs needs."""
    op.add_column("agents", sa.Column("priority_rules", postgresql.JSONB()))
    op.add_column("transactions", sa.Column("verification_hash", sa.Text()))
    op.create_table(
        "priority_queue",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("api_request_id", sa.Uuid(), nullable=False),
        sa.Column("priority_score", sa.Numeric(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("processed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_priority_queue")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_priority_queue_agent_id_agents")),
        sa.ForeignKeyConstraint(
            ["api_request_id"], ["api_request_logs.id"], name=op.f("fk_priority_queue_api_request_id_api_request_logs")
        ),
    )
    op.create_index(op.f("ix_priority_queue_agent_id_priority_score"), "priority_queue", ["agent_id", "priority_score"])
    op.execute(AUDIT_TRAIL_VIEW)


def downgrade() -> None:
    """The queue and the priorities are dropped; payments and requests stay."""
    op.execute("DROP VIEW audit_trail_view")
    op.drop_table("priority_queue")
    op.drop_column("transactions", "verification_hash")
    op.drop_column("agents", "priority_rules")
