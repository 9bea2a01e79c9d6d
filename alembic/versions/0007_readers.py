"""What reading needs: an audit trail that indexes serve, indexes by time, a payment's endpoint, a pruned body's mark.

Revision: 0007_readers, after 0006_audit
"""

import sqlalchemy as sa
from alembic import op

revision = "0007_readers"
down_revision = "0006_audit"
branch_labels = None
depends_on = None

# No join in any part: PostgreSQL merges ordered index scans below a UNION ALL only when each part reads one table.
# What another table knows of a row comes from scalar subqueries, which run for the rows that are shown.
AUDIT_TRAIL_VIEW = """
CREATE OR REPLACE VIEW audit_trail_view AS
SELECT payment.agent_id, 'transaction' AS kind, payment.id, payment.created_at, payment.status::text AS status,
       payment.amount, payment.currency,
       payment.endpoint,
       payment.hash, payment.x402_request_id, coalesce(payment.error_code, payment.error_type::text) AS error,
       (SELECT request_id FROM api_request_logs WHERE x402_request_id = payment.x402_request_id) AS request_id,
       payment.attempt_number,
       (SELECT delivery::text FROM api_request_logs WHERE x402_request_id = payment.x402_request_id) AS delivery,
       payment.verification_hash
  FROM transactions AS payment
UNION ALL
SELECT request.agent_id, 'request', request.id, request.created_at,
       coalesce(request.outcome, request.response_status::text),
       coalesce(request.price, (SELECT amount FROM transactions WHERE id = request.transaction_id)),
       (SELECT currency FROM transactions WHERE id = request.transaction_id), request.endpoint,
       (SELECT hash FROM transactions WHERE id = request.transaction_id),
       coalesce(request.x402_request_id, (SELECT x402_request_id FROM transactions WHERE id = request.transaction_id)),
       request.error_code, request.request_id,
       (SELECT attempt_number FROM transactions WHERE id = request.transaction_id), request.delivery::text,
       (SELECT verification_hash FROM transactions WHERE id = request.transaction_id)
  FROM api_request_logs AS request
UNION ALL
SELECT agent_id, 'balance', id, snapshot_at, status::text, balance, currency, NULL, NULL, NULL, NULL, NULL, NULL,
       NULL, NULL
  FROM balance_snapshots
"""

# The request of a payment is never another one: its path is copied once, so that payments of a path are in one index.
ENDPOINT = """
CREATE FUNCTION copy_endpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.endpoint IS NOT NULL THEN
        NEW.endpoint := OLD.endpoint;
    ELSE
        SELECT endpoint INTO NEW.endpoint FROM api_request_logs WHERE x402_request_id = NEW.x402_request_id;
    END IF;
    RETURN NEW;
END $$
"""

ENDPOINT_TRIGGER = """
CREATE TRIGGER copy_endpoint BEFORE INSERT OR UPDATE OF endpoint ON transactions
FOR EACH ROW EXECUTE FUNCTION copy_endpoint()
"""

# Only payments that have an attempt number: those of before 0004 name no request.
ENDPOINTS_OF_OLD = """
UPDATE transactions AS payment SET endpoint = request.endpoint FROM api_request_logs AS request
WHERE request.x402_request_id = payment.x402_request_id AND payment.attempt_number IS NOT NULL
"""

AUDIT_TRAIL_VIEW_0004 = """
CREATE OR REPLACE VIEW audit_trail_view AS
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
    """Indexes by time for all agents together, one of which holds all that a filter or a sum asks of a payment."""
    op.add_column("api_request_logs", sa.Column("body_pruned_at", sa.DateTime(timezone=True)))
    op.add_column("transactions", sa.Column("endpoint", sa.Text()))
    op.execute("ALTER TABLE transactions DISABLE TRIGGER USER")  # a copy is no change: it makes no event
    op.execute(ENDPOINTS_OF_OLD)
    op.execute("ALTER TABLE transactions ENABLE TRIGGER USER")
    op.execute(ENDPOINT)
    op.execute(ENDPOINT_TRIGGER)
    op.create_index(
        "ix_transactions_created_at",
        "transactions",
        ["created_at"],
        postgresql_include=["id", "agent_id", "network", "currency", "status", "amount", "endpoint", "pay_to"],
    )
    op.create_index("ix_transactions_status_created_at", "transactions", ["status", "created_at"])
    op.create_index("ix_api_request_logs_created_at", "api_request_logs", ["created_at"])
    op.create_index(
        "ix_api_request_logs_prunable",
        "api_request_logs",
        ["closed_at"],
        postgresql_where=sa.text("body_sha256 IS NOT NULL AND body_pruned_at IS NULL"),
    )
    op.create_index("ix_balance_snapshots_snapshot_at", "balance_snapshots", ["snapshot_at"])
    op.create_index("ix_audit_events_agent_id_xid_id", "audit_events", ["agent_id", "xid", "id"])
    op.execute(AUDIT_TRAIL_VIEW)


def downgrade() -> None:
    """Slower reads; which bodies were pruned is forgotten, and their bytes stay gone."""
    op.execute(AUDIT_TRAIL_VIEW_0004)
    op.execute("DROP FUNCTION copy_endpoint() CASCADE")  # with its trigger
    op.drop_index("ix_audit_events_agent_id_xid_id", "audit_events")
    op.drop_index("ix_balance_snapshots_snapshot_at", "balance_snapshots")
    for name in ("prunable", "created_at"):
        op.drop_index(f"ix_api_request_logs_{name}", "api_request_logs")
    for name in ("status_created_at", "created_at"):
        op.drop_index(f"ix_transactions_{name}", "transactions")
    op.drop_column("transactions", "endpoint")
    op.drop_column("api_request_logs", "body_pruned_at")
