"""The fence of a restored ledger."""

from datetime import datetime

from autopay.domain.values import Value


class FenceRecord(Value):
    """A fence that is up: why, since when, and the last height at which an older payment could land, once read."""

    reason: str
    raised_at: datetime
    height: int | None
