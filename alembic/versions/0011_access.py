"""Who may call the API, and who did what: tokens, logins of the page, and what callers ordered.

Revision: 0011_access, after 0010_usage

Tokens and orders are part of the proof: each change of one is an event in the chains, as of the tables of 0006. Their
hashes of secrets are in no event. The SQL is in `alembic/sql/`.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011_access"
down_revision = "0010_usage"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"

STATES = {
    "api_tokens": "id name scopes created_at expires_at revoked_at",
    "operator_actions": "id agent_id actor via token_id action target details created_at outcome error ended_at",
}
"""The columns that events tell of: never a hash of a secret, nor when a token was last used."""

GUARDS = {"api_tokens": "guard_tokens", "operator_actions": "guard_actions", "page_logins": "guard_logins"}


def upgrade() -> None:
    """Three tables; then what writes their events, and refuses what would rewrite them."""
    _create_tables()
    for table, columns in STATES.items():
        pairs = ", ".join(f"'{column}', ($1).{column}" for column in columns.split())
        op.execute(
            f"CREATE FUNCTION audit_state({table}) RETURNS jsonb LANGUAGE sql STABLE RETURN jsonb_build_object({pairs})"
        )
    for statement in (SQL / "0011_access.sql").read_text().split("\n\n\n"):
        op.execute(statement)
    for table in STATES:
        for verb, moment in (("created", "INSERT"), ("changed", "UPDATE")):
            when = "WHEN (audit_state(OLD) IS DISTINCT FROM audit_state(NEW))" if verb == "changed" else ""
            op.execute(
                f"CREATE CONSTRAINT TRIGGER audit_{verb} AFTER {moment} ON {table} DEFERRABLE INITIALLY DEFERRED "
                f"FOR EACH ROW {when} EXECUTE FUNCTION audit_write()"
            )
        op.execute(f"CREATE TRIGGER append_only BEFORE TRUNCATE OR DELETE ON {table} EXECUTE FUNCTION audit_refuse()")
    op.execute(
        "CREATE TRIGGER audit_note AFTER INSERT OR UPDATE ON operator_actions "
        "FOR EACH ROW EXECUTE FUNCTION audit_note()"
    )
    for table, guard in GUARDS.items():
        op.execute(f"CREATE TRIGGER {guard} BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {guard}()")


def downgrade() -> None:
    """No caller is known any more; the events of what was ordered stay in their chains."""
    for guard in GUARDS.values():
        op.execute(f"DROP FUNCTION {guard}() CASCADE")  # with its trigger
    for table in STATES:
        op.execute(f"DROP FUNCTION audit_state({table}) CASCADE")  # with the trigger that calls it
    for table in ("page_logins", "operator_actions", "api_tokens"):
        op.drop_table(table)


def _create_tables() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", postgresql.JSONB(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("revoked_at", sa.DateTime(timezone=True)),
        sa.Column("last_used_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
    )
    op.create_index(
        "uq_api_tokens_name_live",
        "api_tokens",
        ["name"],
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "page_logins",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_id", sa.Uuid(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_page_logins")),
        sa.ForeignKeyConstraint(["token_id"], ["api_tokens.id"], name=op.f("fk_page_logins_token_id_api_tokens")),
    )
    op.create_table(
        "operator_actions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("via", sa.Text(), nullable=False),
        sa.Column("token_id", sa.Uuid()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text()),
        sa.Column("details", postgresql.JSONB()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("outcome", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_actions")),
        sa.ForeignKeyConstraint(["agent_id"], ["agents.id"], name=op.f("fk_operator_actions_agent_id_agents")),
        sa.ForeignKeyConstraint(["token_id"], ["api_tokens.id"], name=op.f("fk_operator_actions_token_id_api_tokens")),
    )
    op.create_index(op.f("ix_operator_actions_agent_id_created_at"), "operator_actions", ["agent_id", "created_at"])
    op.create_index(op.f("ix_operator_actions_created_at"), "operator_actions", ["created_at"])
