"""The table of fences: times at which the ledger may not sign, as it may not know all that was paid."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from autopay.adapters.postgres.tables.core import Base


class FenceRow(Base):
    """Nothing is signed while a row has no `lifted_at`. `height` is the last block height at which a payment
    that was signed before the fence could land, as first read behind it."""

    __tablename__ = "fences"
    __table_args__ = (
        Index("uq_fences_up", text("(lifted_at IS NULL)"), unique=True, postgresql_where=text("lifted_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    reason: Mapped[str]
    raised_at: Mapped[datetime] = mapped_column(server_default=func.now())
    height: Mapped[int | None] = mapped_column(BigInteger)
    lifted_at: Mapped[datetime | None]
    lifted_why: Mapped[str | None]
