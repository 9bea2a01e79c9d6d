"""What proves the ledger, for those who check or anchor it: snapshots of its events, anchors, verified payments."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy import (
    func,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from autopay.adapters.postgres.audit.snapshot import AuditSnapshot, anchor_of
from autopay.adapters.postgres.database.rows import settlement
from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.tables.audit import AuditAnchorRow, AuditHeadRow
from autopay.adapters.postgres.tables.core import TransactionRow
from autopay.domain.audit.anchor import Anchor, AnchorState
from autopay.domain.audit.events import Head
from autopay.domain.audit.solana_check import VerifiedPayment
from autopay.domain.network import Network
from autopay.domain.payment.status import TransactionStatus


class Audit:
    """Implements the ports `AnchorLedger` and `ProvenLedger`. It writes nothing but anchors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def snapshot(self, agent_id: UUID | None = None) -> AsyncIterator["AuditSnapshot"]:
        """One state of the ledger, of one agent or of all, for as long as the block lasts.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        async with self._database.transaction(snapshot=True) as db:
            # Events have their times in UTC.
            for setting in ("TRANSACTION READ ONLY", "LOCAL timezone = 'UTC'", "LOCAL statement_timeout = '5min'"):
                await db.execute(text(f"SET {setting}"))
            yield AuditSnapshot(db, agent_id)

    async def heads(self) -> Sequence[Head]:
        """The heads of all chains, in one moment."""
        async with self._database.transaction() as db:
            rows = await db.scalars(select(AuditHeadRow))
            return [Head(agent_id=row.agent_id, seq=row.seq, hash=row.hash) for row in rows]

    async def pending_anchor(self, network: Network) -> Anchor | None:
        """The anchor that may be under way."""
        return await self._one(AuditAnchorRow.network == network, AuditAnchorRow.status == AnchorState.PENDING)

    async def last_anchor(self, network: Network) -> Anchor | None:
        """The newest anchor that is final on chain."""
        return await self._one(AuditAnchorRow.network == network, AuditAnchorRow.status == AnchorState.FINALIZED)

    async def _one(self, *which: object) -> Anchor | None:
        query = select(AuditAnchorRow).where(*which).order_by(AuditAnchorRow.id.desc()).limit(1)  # type: ignore[arg-type]
        async with self._database.transaction() as db:
            row = await db.scalar(query)
            return None if row is None else anchor_of(row)

    async def record_anchor(self, anchor: Anchor) -> bool:
        """Write-ahead; False when another one of the network is under way."""
        values = anchor.model_dump(exclude={"created_at"})
        try:
            async with self._database.transaction() as db:
                db.add(AuditAnchorRow(**values))
        except IntegrityError:
            return False
        return True

    async def close_anchor(self, anchor_id: UUID, state: AnchorState, slot: int | None) -> None:
        """FINALIZED in a slot, or DEAD; what is closed stays as it is."""
        which = (AuditAnchorRow.id == anchor_id, AuditAnchorRow.status == AnchorState.PENDING)
        async with self._database.transaction() as db:
            await db.execute(update(AuditAnchorRow).where(*which).values(status=state, slot=slot))

    async def anchors_on(self, network: Network, after: UUID | None, limit: int) -> Sequence[Anchor]:
        """The next anchors of that network, oldest first."""
        query = select(AuditAnchorRow).where(AuditAnchorRow.network == network)
        if after is not None:
            query = query.where(AuditAnchorRow.id > after)
        async with self._database.transaction() as db:
            return [anchor_of(row) for row in await db.scalars(query.order_by(AuditAnchorRow.id).limit(limit))]

    async def has_anchor(self, signature: str) -> bool:
        """Whether that transaction is one of the ledger's anchors."""
        query = select(func.count()).where(AuditAnchorRow.signature == signature)
        async with self._database.transaction() as db:
            return bool(await db.scalar(query))

    async def verified(
        self, network: Network, agent_id: UUID | None, after: UUID | None, limit: int
    ) -> Sequence[VerifiedPayment]:
        """The next VERIFIED payments of that network, by id."""
        query = select(TransactionRow).where(
            TransactionRow.status == TransactionStatus.VERIFIED, TransactionRow.network == network
        )
        if agent_id is not None:
            query = query.where(TransactionRow.agent_id == agent_id)
        if after is not None:
            query = query.where(TransactionRow.id > after)
        async with self._database.transaction() as db:
            return [_verified(row) for row in await db.scalars(query.order_by(TransactionRow.id).limit(limit))]


def _verified(row: TransactionRow) -> VerifiedPayment:
    whole = None not in (row.hash, row.slot, row.authority, row.destination_account, row.mint)
    return VerifiedPayment(
        id=row.id,
        agent_id=row.agent_id,
        signature=row.hash,
        slot=row.slot,
        message_hash=row.message_hash,
        verification_hash=row.verification_hash,
        settlement=settlement(row) if whole else None,
    )
