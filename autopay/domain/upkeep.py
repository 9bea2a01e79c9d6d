"""What is done to the ledger by schedule, without a person: checked, anchored, and freed of old content. Pure."""

from enum import StrEnum

from autopay.domain.values import Value


class Duty(StrEnum):
    """One thing that is done again and again; what it does is what `ledger DUTY` does."""

    RECONCILE = "reconcile"
    VERIFY = "verify"
    ANCHOR = "anchor"
    PRUNE = "prune"


ACTOR = "schedule"
"""Who orders it, as the ledger's events say."""

SHORTEST_S = 60
"""Nothing of this is done more often."""


class UpkeepOrder(Value):
    """One run of a duty. `keep_content_s`, for a prune: content of requests that ended so many seconds ago stays."""

    duty: Duty
    keep_content_s: int | None = None


class UpkeepResult(Value):
    """What came of a run. `ok` is false when a check found a difference; `summary` says what, in one line."""

    duty: Duty
    ok: bool
    summary: str
    figures: dict[str, int | str] = {}
