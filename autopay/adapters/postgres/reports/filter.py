"""Which rows a reader wants, and where it reads on: filters, cursors and pages. No database here."""

from datetime import datetime
from typing import Generic, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from autopay.domain.money import Currency

Row = TypeVar("Row")


class Filter(BaseModel):
    """What rows must be like; None and () ask nothing.

    `endpoint` is a glob (`*`, `?`) over the path. `since` is included, `until` is not. Amounts are base units, both
    ends included. `statuses` are words of the column `status`.
    """

    model_config = ConfigDict(frozen=True)

    agent: str | None = None
    endpoint: str | None = None
    statuses: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    min_atomic: int | None = None
    max_atomic: int | None = None
    currency: Currency | None = None


class Place(BaseModel):
    """A row's place in a list that is ordered by time and id, newest first; its text is a cursor."""

    model_config = ConfigDict(frozen=True)

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


class Page(BaseModel, Generic[Row]):
    """Rows, the newest first, and the cursor that the next page comes after; None at the end."""

    model_config = ConfigDict(frozen=True)

    rows: tuple[Row, ...]
    next: str | None


def like_pattern(glob: str) -> str:
    r"""The LIKE pattern of a glob: `*` is any text, `?` any character, all else is itself."""
    escaped = glob.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return escaped.replace("*", "%").replace("?", "_")
