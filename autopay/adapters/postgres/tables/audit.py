"""The tables of the proof: events chained by hashes, the chains' heads, and their anchors on the Solana chain.

Only triggers write events and heads (`alembic/versions/0006_audit.py`); what they mean is in
`autopay.domain.audit.events`.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from autopay.adapters.postgres.tables.core import Base
from autopay.domain.audit.anchor import AnchorState
from autopay.domain.network import Network


class AuditEventRow(Base):
    """One change of one row. `agent_id` names the chain; the nil UUID's has what belongs to no agent.

    Everything but `id` and `xid` is in `payload` too, which the hash covers. A reader that wants all events in one
    order reads by (`xid`, `id`), below the oldest transaction that is still open: `xid` is its transaction's number
    (`pg_current_xact_id`), so nothing can appear later in what was read.
    """

    __tablename__ = "audit_events"
    __table_args__ = (Index(None, "xid", "id"), Index(None, "agent_id", "xid", "id"), Index(None, "row_id", "seq"))

    agent_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    xid: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str]
    row_id: Mapped[UUID]
    at: Mapped[datetime]
    previous: Mapped[bytes]
    payload: Mapped[bytes]
    hash: Mapped[bytes]


class AuditHeadRow(Base):
    """The newest event of each chain; its row is what the chain's writers wait for, at their commit."""

    __tablename__ = "audit_heads"

    agent_id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes]


class AuditAnchorRow(Base):
    """A memo on the Solana chain that commits to all heads of a moment; recorded, bytes and all, before it leaves."""

    __tablename__ = "audit_anchors"
    __table_args__ = (
        UniqueConstraint("signature"),
        Index(
            "uq_audit_anchors_network_pending",
            "network",
            unique=True,
            postgresql_where=text("status = 'PENDING'"),
        ),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    network: Mapped[Network]
    root: Mapped[str]
    heads: Mapped[bytes]
    payer: Mapped[str]
    signature: Mapped[str]
    wire: Mapped[bytes]
    last_valid_block_height: Mapped[int] = mapped_column(BigInteger)
    status: Mapped[AnchorState] = mapped_column(server_default=AnchorState.PENDING.value)
    slot: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
