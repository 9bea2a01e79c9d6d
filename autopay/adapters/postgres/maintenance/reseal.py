"""Puts everything that is sealed in the ledger under the newest key: small batches, each a transaction of its own.

May be interrupted at any moment and run again: a row is changed whole or not at all, and what is done is not done
again. Rows that a payment holds at the moment are left for the next round, so nothing ever waits for this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.orm import InstrumentedAttribute

from autopay.adapters.postgres.tables.core import RequestRow, SessionRow, TransactionRow

BATCH = 200


@dataclass(frozen=True)
class SealedColumn:
    """A column that holds what the vault sealed; `row_of` gives what the seal is bound to, from `bound`'s values."""

    name: str
    purpose: str
    table: type[SessionRow] | type[TransactionRow] | type[RequestRow]
    sealed: InstrumentedAttribute[Any]
    bound: Sequence[InstrumentedAttribute[Any]]
    row_of: Callable[..., str]


COLUMNS = (
    SealedColumn("session keys", "session-key", SessionRow, SessionRow.session_token, (SessionRow.id,), str),
    SealedColumn(
        "payments",
        "payment",
        TransactionRow,
        TransactionRow.sealed_payment,
        (TransactionRow.x402_request_id, TransactionRow.attempt_number),
        lambda key, number: f"{key}/{number}",
    ),
    SealedColumn(
        "headers and bodies",
        "request-extras",
        RequestRow,
        RequestRow.sealed_extras,
        (RequestRow.x402_request_id,),
        str,
    ),
)


@dataclass(frozen=True)
class Batch:
    """What one transaction did: rows resealed, the ids of rows that no key opens, and where the next begins."""

    resealed: int
    unreadable: tuple[UUID, ...]
    last: UUID
