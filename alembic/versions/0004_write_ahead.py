"""What makes a payment recoverable: every attempt is recorded whole before it leaves.

Revision: 0004_write_ahead, after 0003_multi_api_priority
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004_write_ahead"
down_revision = "0003_multi_api_priority"
branch_labels = None
depends_on = None

Columns = tuple[sa.Column[object], ...]

# NOT VALID: rows of before 0004 stay as they are; every new or changed row is checked.
RECOVERABLE = """
ALTER TABLE transactions ADD CONSTRAINT ck_transactions_recoverable CHECK (
    status NOT IN ('PENDING', 'RETRYING') OR num_nulls(attempt_number, session_id, memo, message_hash,
    buyer_signature, blockhash, blockhash_slot, last_valid_block_height, sealed_payment, pay_to, mint,
    source_account, destination_account, authority, x402_version) = 0
) NOT VALID
"""

AUDIT_TRAIL_VIEW_0003 = """
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

AUDIT_TRAIL_VIEW = """
CREATE VIEW audit_trail_view AS
SELECT payment.agent_id, 'transaction' AS kind, payment.id, payment.created_at, payment.status::text AS status,
       payment.amount, payment.currency, request.endpoint, payment.hash, payment.x402_request_id,
       coalesce(payment.error_code, payment.error_type::text) AS error, request.request_id,
       payment.attempt_number, request.delivery::text AS delivery, payment.verification_hash
  FROM transactions AS payment LEFT JOIN api_request_logs AS request USING (x402_request_id)
UNION ALL
SELECT request.agent_id, 'request', request.id, request.created_at,
       coalesce(request.outcome, request.response_status::text), coalesce(request.price, payment.amount),
       payment.currency, request.endpoint, payment.hash, coalesce(request.x402_request_id, payment.x402_request_id),
       request.error_code, request.request_id, payment.attempt_number, request.delivery::text,
       payment.verification_hash
  FROM api_request_logs AS request LEFT JOIN transactions AS payment ON payment.id = request.transaction_id
UNION ALL
SELECT agent_id, 'balance', id, snapshot_at, status::text, balance, currency, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL
  FROM balance_snapshots
"""


def upgrade() -> None:
    """Columns, the unique rules that stop a second payment, and the wider view."""
    op.execute("CREATE TYPE delivery AS ENUM ('NONE', 'DELIVERED', 'UNDELIVERED')")
    op.add_column("agents", sa.Column("archived_at", sa.DateTime(timezone=True)))
    op.create_unique_constraint(op.f("uq_agents_name"), "agents", ["name"])
    _add("sessions", _session_columns())
    _add("transactions", _transaction_columns())
    _add("api_request_logs", _request_columns())
    _one_payment_a_request()
    op.execute(RECOVERABLE)
    op.execute("DROP VIEW audit_trail_view")
    op.execute(AUDIT_TRAIL_VIEW)


def downgrade() -> None:
    """Drops what 0004 recorded; amounts, statuses, hashes and receipts stay."""
    op.execute("DROP VIEW audit_trail_view")
    op.drop_index("uq_priority_queue_api_request_id_waiting", "priority_queue")
    op.drop_index("ix_api_request_logs_open", "api_request_logs")
    op.drop_index(op.f("ix_api_request_logs_agent_id_created_at"), "api_request_logs")
    op.drop_constraint(op.f("ck_transactions_recoverable"), "transactions")
    op.drop_index("uq_transactions_x402_request_id_not_failed", "transactions")
    for table, columns in (
        ("api_request_logs", _request_columns()),
        ("transactions", _transaction_columns()),
        ("sessions", _session_columns()),
    ):
        for column in reversed(columns):
            op.drop_column(table, column.name)  # its unique constraints go with it
    op.drop_constraint(op.f("uq_agents_name"), "agents")
    op.drop_column("agents", "archived_at")
    op.execute("DROP TYPE delivery")
    op.execute(AUDIT_TRAIL_VIEW_0003)


def _add(table: str, columns: Columns) -> None:
    for column in columns:
        op.add_column(table, column)


def _one_payment_a_request() -> None:
    op.create_unique_constraint(op.f("uq_transactions_message_hash"), "transactions", ["message_hash"])
    op.create_unique_constraint(
        op.f("uq_transactions_x402_request_id_attempt_number"), "transactions", ["x402_request_id", "attempt_number"]
    )
    op.create_index(
        "uq_transactions_x402_request_id_not_failed",
        "transactions",
        ["x402_request_id"],
        unique=True,
        postgresql_where=sa.text("status <> 'FAILED'"),
    )
    op.create_unique_constraint(op.f("uq_api_request_logs_x402_request_id"), "api_request_logs", ["x402_request_id"])
    op.create_unique_constraint(
        op.f("uq_api_request_logs_agent_id_request_id"), "api_request_logs", ["agent_id", "request_id"]
    )
    op.create_index(op.f("ix_api_request_logs_agent_id_created_at"), "api_request_logs", ["agent_id", "created_at"])
    op.create_index(
        "ix_api_request_logs_open", "api_request_logs", ["id"], postgresql_where=sa.text("closed_at IS NULL")
    )
    op.create_index(
        "uq_priority_queue_api_request_id_waiting",
        "priority_queue",
        ["api_request_id"],
        unique=True,
        postgresql_where=sa.text("processed_at IS NULL"),
    )


def _text(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Text())


def _time(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True))


def _currency(name: str) -> sa.Column[object]:
    return sa.Column(name, postgresql.ENUM(name="currency", create_type=False))


def _count(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.Integer(), server_default="0", nullable=False)


def _session_columns() -> Columns:
    return (
        _text("public_key"),
        _currency("currency"),
        _text("mint"),
        _text("source_account"),
        _text("owner_wallet"),
        sa.Column("allowance", sa.Numeric(20, 6)),
        _text("key_version"),
    )


def _transaction_columns() -> Columns:
    return (
        sa.Column("attempt_number", sa.Integer()),
        _text("memo"),
        _text("message_hash"),
        _text("buyer_signature"),
        _text("blockhash"),
        sa.Column("blockhash_slot", sa.BigInteger()),
        sa.Column("last_valid_block_height", sa.BigInteger()),
        _text("sealed_payment"),
        _text("pay_to"),
        _text("mint"),
        _text("source_account"),
        _text("destination_account"),
        _text("authority"),
        sa.Column("x402_version", sa.Integer()),
        _text("newest_prior_signature"),
        sa.Column("claims", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        _count("sends"),
        _time("sent_at"),
        _text("last_answer"),
        _text("error_code"),
        sa.Column("slot", sa.BigInteger()),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
    )


def _request_columns() -> Columns:
    return (
        _text("request_id"),
        _text("x402_request_id"),
        _text("url"),
        _text("terms_hash"),
        sa.Column("max_price", sa.Numeric(20, 6)),
        _currency("currency_preference"),
        _text("watch"),
        _text("sealed_extras"),
        _text("body_hash"),
        sa.Column(
            "delivery", postgresql.ENUM(name="delivery", create_type=False), server_default="NONE", nullable=False
        ),
        sa.Column("conflict", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        _text("outcome"),
        _text("error_code"),
        _text("error_message"),
        sa.Column("result", postgresql.JSONB()),
        _text("content_type"),
        sa.Column("body", sa.LargeBinary()),
        _text("body_sha256"),
        sa.Column("price", sa.Numeric(20, 6)),
        _text("pay_to"),
        _time("answered_at"),
        _time("closed_at"),
    )
