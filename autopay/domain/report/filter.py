from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime
from enum import StrEnum
from typing import Generic, Self, TypeVar
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.values import Value

Row = TypeVar("Row")

NOT_ENDED = datetime.max.replace(tzinfo=UTC)
"""In the order of a list by its end: of what has none yet."""


class Filter(Value):
    """What rows must be like; None and () ask nothing.

    `endpoint` is a glob (`*`, `?`) over the path. `since` is included, `until` is not. Amounts are base units, both
    ends included. `statuses` are words of the column `status`.
    """

    agent: str | None = None
    endpoint: str | None = None
    statuses: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_atomic: int | None = None
    max_atomic: int | None = None
    currency: Currency | None = None


class SpendBy(StrEnum):
    """What spending is summed by; days are UTC."""

    DAY = "day"
    ENDPOINT = "endpoint"
    SELLER = "seller"
    PAYEE = "payee"
    AGENT = "agent"


class Page(Value, Generic[Row]):
    """Rows, the newest first, and the cursor that the next page comes after; None at the end."""

    rows: tuple[Row, ...]
    next: str | None


class SpendCursor(Value):
    """A sum's place in a list of sums, which is ordered by key, network and currency."""

    key: str | None
    network: Network
    currency: Currency

    def __str__(self) -> str:
        return urlsafe_b64encode(self.model_dump_json().encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """The place that a cursor names.

        Raises:
            ValueError: not a cursor.
        """
        return cls.model_validate_json(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))


class Cursor(Value):
    """A row's place in a list that is ordered by time and id, newest first; its text is a cursor."""

    at: datetime
    row_id: UUID

    def __str__(self) -> str:
        return f"{self.at.isoformat()}_{self.row_id.hex}"

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """The place that a cursor names.

        Raises:
            ValueError: not a cursor.
        """
        at, underscore, row_id = cursor.rpartition("_")
        if not underscore:
            raise ValueError(f"{cursor!r} is not a cursor")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError(f"{cursor!r} is not a cursor: its time has no zone")
        return cls(at=moment, row_id=UUID(row_id))
