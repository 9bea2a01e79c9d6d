"""Agents, transactions, balance snapshots and API request logs.

Revision: 0001_initial_autopay_schema, the first
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001_initial_autopay_schema"
down_revision = None
branch_labels = None
depends_on = None

ENUMS = {
    "autonomy_phase": ("DEMO", "INTERACTIVE", "FULL"),
    "currency": ("CASH", "USDC"),
    "transaction_status": ("PENDING", "SUCCESS", "FAILED", "RETRYING", "VERIFIED"),
    "error_type": ("INSUFFICIENT_FUNDS", "NETWORK_FAILURE", "REJECTED", "RPC_ERROR"),
    "network": ("DEVNET", "MAINNET"),
    "balance_status": ("SUFFICIENT", "LOW", "PAUSED"),
    "http_method": ("GET", "POST"),
}


def upgrade() -> None:
    """Four tables, their enums and indexes."""
    for name, values in ENUMS.items():
        op.execute(f"CREATE TYPE {name} AS ENUM {values}")
    _create_agents()
    _create_transactions()
    _create_balance_snapshots()
    _create_api_request_logs()


def downgrade() -> None:
    """Drop everything."""
    for table in ("api_request_logs", "balance_snapshots", "transactions", "agents"):
        op.drop_table(table)
    for name in reversed(ENUMS):
        op.execute(f"DROP TYPE {name}")


def _enum(name: str) -> postgresql.ENUM:
    return postgresql.ENUM(name=name, create_type=False)


def _now(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def _agent_id(table: str) -> tuple[sa.Column[object], sa.ForeignKeyConstraint]:
    key = sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f(f"fk_{table}_agent_id_agents"))
    return sa.Column("agent_id", sa.Uuid(), nullable=False), key


def _create_agents() -> None:
    op.create_table(
        "agents",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("autonomy_phase", _enum("autonomy_phase"), nullable=False),
        sa.Column("wallet_address", sa.Text(), nullable=False),
        _now("created_at"),
        _now("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
    )


def _create_transactions() -> None:
    op.create_table(
        "transactions",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_agent_id("transactions"),
        sa.Column("hash", sa.Text()),
        sa.Column("amount", sa.Numeric(20, 6), nullable=False),
        sa.Column("currency", _enum("currency"), nullable=False),
        sa.Column("status", _enum("transaction_status"), server_default="PENDING", nullable=False),
        sa.Column("x402_request_id", sa.Text(), nullable=False),
        sa.Column("facilitator_response", postgresql.JSONB()),
        sa.Column("retry_count", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error_type", _enum("error_type")),
        sa.Column("network", _enum("network"), nullable=False),
        _now("created_at"),
        sa.CheckConstraint("retry_count BETWEEN 0 AND 3", name=op.f("ck_transactions_retry_count")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_transactions_amount")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transactions")),
        sa.UniqueConstraint("hash", "network", name=op.f("uq_transactions_hash_network")),
    )
    op.create_index(op.f("ix_transactions_agent_id_created_at"), "transactions", ["agent_id", "created_at"])


def _create_balance_snapshots() -> None:
    op.create_table(
        "balance_snapshots",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_agent_id("balance_snapshots"),
        sa.Column("balance", sa.Numeric(20, 6), nullable=False),
        sa.Column("currency", _enum("currency"), nullable=False),
        sa.Column("threshold", sa.Numeric(20, 6), server_default=sa.text("0.01"), nullable=False),
        sa.Column("status", _enum("balance_status"), nullable=False),
        _now("snapshot_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_balance_snapshots")),
    )
    op.create_index(op.f("ix_balance_snapshots_agent_id_snapshot_at"), "balance_snapshots", ["agent_id", "snapshot_at"])


def _create_api_request_logs() -> None:
    op.create_table(
        "api_request_logs",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_agent_id("api_request_logs"),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("method", _enum("http_method"), nullable=False),
        sa.Column("response_status", sa.Integer()),
        sa.Column("x402_instructions", postgresql.JSONB()),
        sa.Column("retry_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("success_payload", postgresql.JSONB()),
        sa.Column("transaction_id", sa.Uuid()),
        _now("created_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_request_logs")),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name=op.f("fk_api_request_logs_transaction_id_transactions")
        ),
    )
    op.create_index(op.f("ix_api_request_logs_agent_id_endpoint"), "api_request_logs", ["agent_id", "endpoint"])
