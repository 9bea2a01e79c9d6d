"""The tables of counters: what sessions have used, and what agents spent a day at each host.

Triggers of `transactions` move them (`alembic/sql/0010_usage.sql`), in the transaction that adds a payment or ends it,
so that no reservation sums over payments. `ledger verify` compares them with the payments. Nothing else writes them.
"""

from datetime import date
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from autopay.adapters.postgres.tables.core import Base


class SessionUsageRow(Base):
    """How many payments of a session count as spent, and their sum; a session without a payment has no row."""

    __tablename__ = "session_usage"

    session_id: Mapped[UUID] = mapped_column(ForeignKey("sessions.id"), primary_key=True)
    payments: Mapped[int] = mapped_column(BigInteger)
    spent: Mapped[Decimal]


class DayUsageRow(Base):
    """The same of an agent's payments to a host that were made in a day (UTC); `host` is empty where it is not known.

    The agent's day over all hosts is the sum of a day's rows: they are as few as the hosts that it pays in a day, and a
    row of its own would be one more to write for every payment.
    """

    __tablename__ = "day_usage"

    agent_id: Mapped[UUID] = mapped_column(ForeignKey("agents.id"), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(primary_key=True)
    payments: Mapped[int] = mapped_column(BigInteger)
    spent: Mapped[Decimal]
