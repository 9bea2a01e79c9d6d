"""Webhooks: where events are sent to, and what became of each; and an agent's own pauses as events.

Revision: 0012_webhooks, after 0011_access

Endpoints are part of the proof, without their secrets and how far they are. Deliveries are not: they would tell of
themselves. An agent that pauses for want of money was seen in `balance_snapshots` only, which have no events.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012_webhooks"
down_revision = "0011_access"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"

TOLD = "id url events created_at disabled_at disabled_why removed_at"
"""The columns of an endpoint that its events tell of."""


def upgrade() -> None:
    """Two tables, what writes the events of the first, and a trigger that records an agent's own pauses."""
    _create_tables()
    pairs = ", ".join(f"'{column}', ($1).{column}" for column in TOLD.split())
    op.execute(
        "CREATE FUNCTION audit_state(webhook_endpoints) RETURNS jsonb LANGUAGE sql STABLE "
        f"RETURN jsonb_build_object({pairs})"
    )
    for statement in (SQL / "0012_webhooks.sql").read_text().split("\n\n\n"):
        op.execute(statement)
    for verb, moment in (("created", "INSERT"), ("changed", "UPDATE")):
        when = "WHEN (audit_state(OLD) IS DISTINCT FROM audit_state(NEW))" if verb == "changed" else ""
        op.execute(
            f"CREATE CONSTRAINT TRIGGER audit_{verb} AFTER {moment} ON webhook_endpoints DEFERRABLE INITIALLY DEFERRED "
            f"FOR EACH ROW {when} EXECUTE FUNCTION audit_write()"
        )
    op.execute(
        "CREATE TRIGGER append_only BEFORE TRUNCATE OR DELETE ON webhook_endpoints EXECUTE FUNCTION audit_refuse()"
    )
    op.execute(
        "CREATE TRIGGER guard_webhooks BEFORE UPDATE ON webhook_endpoints "
        "FOR EACH ROW EXECUTE FUNCTION guard_webhooks()"
    )
    op.execute(
        "CREATE TRIGGER note_pause BEFORE INSERT ON balance_snapshots FOR EACH ROW EXECUTE FUNCTION note_pause()"
    )


def downgrade() -> None:
    """Nothing is sent any more; the events of what was stay in their chains."""
    op.execute("DROP FUNCTION note_pause() CASCADE")  # with its trigger
    op.execute("DROP FUNCTION guard_webhooks() CASCADE")
    op.execute("DROP FUNCTION audit_state(webhook_endpoints) CASCADE")
    op.drop_table("webhook_deliveries")
    op.drop_table("webhook_endpoints")
    op.execute("DROP TYPE webhook_status")


def _create_tables() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.JSONB(), nullable=False),
        sa.Column("sealed_secret", sa.Text(), nullable=False),
        sa.Column("sealed_old_secret", sa.Text(), server_default="", nullable=False),
        sa.Column("old_until", sa.DateTime(timezone=True)),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True)),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
        sa.Column("disabled_why", sa.Text()),
        sa.Column("removed_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.execute("CREATE TYPE webhook_status AS ENUM ('RETRYING', 'DELIVERED', 'FAILED')")
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid(), nullable=False),
        sa.Column("event_agent_id", sa.Uuid(), nullable=False),
        sa.Column("event_seq", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", postgresql.ENUM(name="webhook_status", create_type=False), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("http_status", sa.Integer()),
        sa.Column("error", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"], name=op.f("fk_webhook_deliveries_endpoint_id_webhook_endpoints")
        ),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_endpoint_id_created_at"), "webhook_deliveries", ["endpoint_id", "created_at"]
    )
    op.create_index(
        "ix_webhook_deliveries_retrying",
        "webhook_deliveries",
        ["endpoint_id", "next_at"],
        postgresql_where=sa.text("status = 'RETRYING'"),
    )
