"""The ledger that proves itself: an event for every change, chained by hashes, and triggers that refuse the rest.

Revision: 0006_audit, after 0005_policy

Rows that are there already are not changed: each chain begins with an "adopted" event for every one of them. The
SQL is in `alembic/sql/`; what an event tells of a row is the list `STATES` here.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006_audit"
down_revision = "0005_policy"
branch_labels = None
depends_on = None

SQL = Path(__file__).resolve().parents[1] / "sql"

STATES = {
    "agents": "id name autonomy_phase wallet_address created_at archived_at",
    "sessions": "id agent_id scope status expires_at created_at public_key currency mint source_account owner_wallet "
    "allowance",
    "policies": "id agent_id policy set_at",
    "counterparties": "id network origin pay_to accepted_by accepted_at",
    "fences": "id reason raised_at height lifted_at lifted_why",
    "api_request_logs": "id agent_id endpoint method response_status x402_instructions# transaction_id created_at "
    "request_id x402_request_id url terms_hash max_price currency_preference watch body_hash delivery conflict "
    "outcome error_code error_message result# content_type body_sha256 price pay_to answered_at closed_at",
    "transactions": "id agent_id hash amount currency status x402_request_id facilitator_response# retry_count "
    "error_type network created_at session_id verification_hash attempt_number memo message_hash buyer_signature "
    "blockhash blockhash_slot last_valid_block_height pay_to mint source_account destination_account authority "
    "x402_version newest_prior_signature claims sends sent_at last_answer error_code slot host resource",
    "approvals": "id agent_id x402_request_id terms_hash terms why status created_at expires_at decided_at attempt_id",
}
"""The columns that events tell of, in the order of adoption; of one with `#` the SHA-256 of its text only.

Never a sealed or secret column, never a body: what was delivered is told by `body_sha256`.
"""

BORN = {"policies": "set_at", "counterparties": "accepted_at", "fences": "raised_at"}  # else created_at

UNOWNED = ("counterparties", "fences")
"""Tables whose rows belong to no agent."""

FOREVER = ("transactions", "api_request_logs")
"""Tables whose rows are never deleted."""


def upgrade() -> None:
    """Chains, heads and anchors; functions; the chains' beginning; then the triggers."""
    op.execute(f"LOCK TABLE {', '.join(STATES)} IN SHARE ROW EXCLUSIVE MODE")
    _create_tables()
    for table, columns in STATES.items():
        op.execute(_state_function(table, columns.split()))
    for file in ("0006_events.sql", "0006_guards.sql"):
        for statement in (SQL / file).read_text().split("\n\n\n"):
            op.execute(statement)
    op.execute(_adoption())
    for table in STATES:
        _watch(table)
    _guard()


def downgrade() -> None:
    """Drops the chains and the guards; the rows that they speak of stay."""
    for name in ("audit_write", "audit_note", "audit_note_agent", "audit_refuse", *GUARDS):
        op.execute(f"DROP FUNCTION {name}() CASCADE")  # with its triggers
    for table in STATES:
        op.execute(f"DROP FUNCTION audit_state({table})")
    op.execute("DROP FUNCTION audit_payload(uuid, bigint, text, uuid, timestamptz, jsonb)")
    for table in ("audit_anchors", "audit_heads", "audit_events"):
        op.drop_table(table)
    op.execute("DROP TYPE anchor_status")


def _create_tables() -> None:
    op.create_table(
        "audit_events",
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("xid", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("row_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "seq", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_xid_id"), "audit_events", ["xid", "id"])
    op.create_index(op.f("ix_audit_events_row_id_seq"), "audit_events", ["row_id", "seq"])
    op.create_table(
        "audit_heads",
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", name=op.f("pk_audit_heads")),
        postgresql_with={"fillfactor": 50},  # room for the next version of a row on the same page
    )
    op.execute("CREATE TYPE anchor_status AS ENUM ('PENDING', 'FINALIZED', 'DEAD')")
    op.create_table(
        "audit_anchors",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("network", postgresql.ENUM(name="network", create_type=False), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("heads", sa.LargeBinary(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("wire", sa.LargeBinary(), nullable=False),
        sa.Column("last_valid_block_height", sa.BigInteger(), nullable=False),
        sa.Column(
            "status",
            postgresql.ENUM(name="anchor_status", create_type=False),
            server_default="PENDING",
            nullable=False,
        ),
        sa.Column("slot", sa.BigInteger()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_anchors")),
        sa.UniqueConstraint("signature", name=op.f("uq_audit_anchors_signature")),
    )
    op.create_index(
        "uq_audit_anchors_network_pending",
        "audit_anchors",
        ["network"],
        unique=True,
        postgresql_where=sa.text("status = 'PENDING'"),
    )


def _state_function(table: str, columns: list[str]) -> str:
    def pair(column: str) -> str:
        if column.endswith("#"):
            name = column.removesuffix("#")
            return f"'{name}_sha256', encode(sha256(convert_to(($1).{name}::text, 'UTF8')), 'hex')"
        return f"'{column}', ($1).{column}"

    pairs = ", ".join(pair(column) for column in columns)
    return f"CREATE FUNCTION audit_state({table}) RETURNS jsonb LANGUAGE sql STABLE RETURN jsonb_build_object({pairs})"


def _adoption() -> str:
    """Chain by chain in order of birth, in memory of one transaction: the heads are written once, at the end."""
    rows = " UNION ALL ".join(
        f"SELECT {_chain_of(table)} AS chain, '{table}.adopted' AS kind, id, "  # noqa: S608  (names of this file)
        f"{BORN.get(table, 'created_at')} AS born, {rank} AS rank, audit_state({table}) AS told FROM {table}"
        for rank, table in enumerate(STATES)
    )
    return (SQL / "0006_adoption.sql").read_text().replace("{rows}", rows)


def _chain_of(table: str) -> str:
    nobody = "'00000000-0000-0000-0000-000000000000'::uuid"
    return {"agents": "id", **dict.fromkeys(UNOWNED, nobody)}.get(table, f"coalesce(agent_id, {nobody})")


def _watch(table: str) -> None:
    """Events are written at commit, each row's change by itself; what only touches untold columns writes none."""
    moments = {"created": "INSERT", "changed": "UPDATE"} | ({} if table in FOREVER else {"deleted": "DELETE"})
    for verb, moment in moments.items():
        when = "WHEN (audit_state(OLD) IS DISTINCT FROM audit_state(NEW))" if verb == "changed" else ""
        op.execute(
            f"CREATE CONSTRAINT TRIGGER audit_{verb} AFTER {moment} ON {table} DEFERRABLE INITIALLY DEFERRED "
            f"FOR EACH ROW {when} EXECUTE FUNCTION audit_write()"
        )
    if table not in UNOWNED:
        note = "audit_note_agent" if table == "agents" else "audit_note"
        op.execute(
            f"CREATE TRIGGER audit_note AFTER {' OR '.join(moments.values())} ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {note}()"
        )


GUARDS = {
    "guard_transactions": "BEFORE INSERT OR UPDATE ON transactions",
    "guard_requests": "BEFORE UPDATE ON api_request_logs",
    "guard_content": "BEFORE UPDATE OF body, body_sha256, content_type, success_payload, answered_at "
    "ON api_request_logs",
    "guard_sessions": "BEFORE UPDATE ON sessions",
    "guard_agents": "BEFORE UPDATE ON agents",
    "guard_approvals": "BEFORE UPDATE ON approvals",
    "guard_anchors": "BEFORE UPDATE ON audit_anchors",
}


def _guard() -> None:
    for name, moment in GUARDS.items():
        op.execute(f"CREATE TRIGGER {name} {moment} FOR EACH ROW EXECUTE FUNCTION {name}()")
    for table in (*STATES, "audit_anchors", "audit_heads", "audit_events"):
        kept = table in FOREVER or table.startswith("audit_")
        moments = "TRUNCATE" + (" OR DELETE" if kept else "")
        moments += " OR UPDATE" if table in ("counterparties", "policies", "audit_events") else ""
        op.execute(f"CREATE TRIGGER append_only BEFORE {moments} ON {table} EXECUTE FUNCTION audit_refuse()")
    for table in ("audit_heads", "audit_events"):  # depth 0: by a statement, not by the triggers that write events
        op.execute(
            f"CREATE TRIGGER by_triggers_only BEFORE INSERT OR UPDATE ON {table} WHEN (pg_trigger_depth() = 0) "
            "EXECUTE FUNCTION audit_refuse()"
        )
