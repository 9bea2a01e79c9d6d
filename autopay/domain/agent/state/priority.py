"""The priority of a request: what is worth most per unit of money comes first, and nothing waits for ever. Pure.

A score counts in doublings: one point more is worth twice as much.

    score = log2(weight x staleness / cost) + minutes waited

- `weight` is the watch's own (0.001 to 1000); a request made by hand weighs 2, ahead of routine.
- `staleness` is the age of the data in units of its window: 1 when the window has just ended, 2 when the data is twice
  as old as wanted, at most 1000. By hand: 1.
- `cost` is 1 + 9 x price / spendable, between 1 (free, or small change) and 10 (all that is left): of two requests of
  the same worth the cheaper comes first, the more so the less money there is. An unknown price counts as 0.

**Nothing starves.** All waiting requests gain a point a minute, so that only their first score and their age order
them. First scores lie between `LOWEST` and `HIGHEST` (about 34 points apart), so a request is overtaken only by what
was queued at most 34 minutes after it, whatever arrives; ties go to the oldest. What cannot start (no money, a seller
that is down) keeps its place and blocks nobody, but see `Rules.buy_what_fits`.
"""

from datetime import datetime
from math import log2

HAND_WEIGHT = 2.0
STALEST = 1000.0
DEAREST = 9.0
LOWEST, HIGHEST = log2(0.001 / (1 + DEAREST)), log2(1000 * STALEST)


def score(
    weight: float = HAND_WEIGHT, staleness: float = 1.0, price_atomic: int = 0, spendable_atomic: int | None = None
) -> float:
    """The worth of a request that is queued now, in points.

    Args:
        weight: 0.001 to 1000.
        staleness: age of the data in windows; below 1 counts as 1.
        price_atomic: the last known price in base units, 0 when unknown or free.
        spendable_atomic: what is left in that currency; None or 0 counts a price as all that is left.
    """
    share = min(1.0, price_atomic / spendable_atomic) if spendable_atomic else float(price_atomic > 0)
    stale = min(max(staleness, 1.0), STALEST)
    return round(log2(weight * stale / (1 + DEAREST * share)), 3)


def score_at(first_score: float, queued_at: datetime, now: datetime) -> float:
    """The score by now: a point more for every minute of waiting."""
    return first_score + (now - queued_at).total_seconds() / 60


def sort_key(first_score: float, queued_at: datetime) -> tuple[float, datetime]:
    """A key to sort by, the best first: the order of `score_at`, which is the same at every moment."""
    return queued_at.timestamp() - 60 * first_score, queued_at
