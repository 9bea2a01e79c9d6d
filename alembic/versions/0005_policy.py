"""What stands before a payment: policies, the payees that an origin is known by, a person's approvals, and the fence.

Revision: 0005_policy, after 0004_write_ahead
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005_policy"
down_revision = "0004_write_ahead"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Four tables, and on every payment where it goes, so that a day's spending is one index away."""
    op.execute("CREATE TYPE approval_status AS ENUM ('PENDING', 'APPROVED', 'DENIED', 'CONSUMED', 'EXPIRED')")
    op.add_column("transactions", sa.Column("host", sa.Text()))
    op.add_column("transactions", sa.Column("resource", sa.Text()))
    for column in ("host", "resource"):
        op.create_index(
            op.f(f"ix_transactions_agent_id_{column}_created_at"), "transactions", ["agent_id", column, "created_at"]
        )
    _policies()
    _counterparties()
    _approvals()
    _fences()


def downgrade() -> None:
    """Drops the limits and the approvals; payments stay."""
    for table in ("fences", "approvals", "counterparties", "policies"):
        op.drop_table(table)
    for column in ("resource", "host"):
        op.drop_index(op.f(f"ix_transactions_agent_id_{column}_created_at"), "transactions")
        op.drop_column("transactions", column)
    op.execute("DROP TYPE approval_status")


def _policies() -> None:
    op.create_table(
        "policies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("policy", postgresql.JSONB(), nullable=False),
        _time("set_at", now=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.id"], name=op.f("fk_policies_agent_id_agents"), ondelete="CASCADE"
        ),
    )
    op.create_index(op.f("ix_policies_agent_id_set_at"), "policies", ["agent_id", "set_at"])


def _counterparties() -> None:
    op.create_table(
        "counterparties",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("network", postgresql.ENUM(name="network", create_type=False), nullable=False),
        _text("origin"),
        _text("pay_to"),
        _text("accepted_by"),
        _time("accepted_at", now=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_counterparties")),
        sa.UniqueConstraint("network", "origin", "pay_to", name=op.f("uq_counterparties_network_origin_pay_to")),
    )


def _approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        _text("x402_request_id"),
        _text("terms_hash"),
        sa.Column("terms", postgresql.JSONB(), nullable=False),
        _text("why"),
        sa.Column(
            "status",
            postgresql.ENUM(name="approval_status", create_type=False),
            server_default="PENDING",
            nullable=False,
        ),
        _time("created_at", now=True),
        _time("expires_at", nullable=False),
        _time("decided_at"),
        sa.Column("attempt_id", sa.Uuid()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_approvals_agent_id_agents")),
        sa.ForeignKeyConstraint(
            ["x402_request_id"],
            ["api_request_logs.x402_request_id"],
            name=op.f("fk_approvals_x402_request_id_api_request_logs"),
        ),
        sa.ForeignKeyConstraint(["attempt_id"], ["transactions.id"], name=op.f("fk_approvals_attempt_id_transactions")),
    )
    op.create_index(op.f("ix_approvals_agent_id_created_at"), "approvals", ["agent_id", "created_at"])
    op.create_index(
        "uq_approvals_x402_request_id_terms_hash_live",
        "approvals",
        ["x402_request_id", "terms_hash"],
        unique=True,
        postgresql_where=sa.text("status IN ('PENDING', 'APPROVED')"),
    )


def _fences() -> None:
    op.create_table(
        "fences",
        sa.Column("id", sa.Uuid(), nullable=False),
        _text("reason"),
        _time("raised_at", now=True),
        sa.Column("height", sa.BigInteger()),
        _time("lifted_at"),
        sa.Column("lifted_why", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fences")),
    )
    op.create_index(
        "uq_fences_up",
        "fences",
        [sa.text("(lifted_at IS NULL)")],
        unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"),
    )


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text(), nullable=False)


def _time(name: str, *, now: bool = False, nullable: bool = True) -> sa.Column[object]:
    if now:
        return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
