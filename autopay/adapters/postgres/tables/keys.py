"""The table of check values: which keys the ledger's secrets are sealed with, without the keys."""

from datetime import datetime

from sqlalchemy import func
from sqlalchemy.orm import Mapped, mapped_column

from autopay.adapters.postgres.tables.core import Base


class KeyCheckRow(Base):
    """A version of the keyring that was used with this ledger, and the check value of its key."""

    __tablename__ = "key_checks"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    check_value: Mapped[str]
    first_used_at: Mapped[datetime] = mapped_column(server_default=func.now())
