"""Which request comes first. Pure."""

from autopay.domain.agent import Watch


def score(watch: Watch | None, overdue_s: float) -> float:
    """How much a request is worth doing now; higher comes first, ties go to the oldest.

    A watch scores its weight times how stale its data is, in units of its freshness window: 1 when the window has
    just ended, 2 when the data is twice as old as wanted. A request that somebody made by hand scores as a watch
    of weight 2 that has just gone stale: ahead of routine, behind what has waited long.
    """
    if watch is None:
        return 2.0
    return round(watch.weight * (1 + max(0.0, overdue_s) / watch.every_s), 6)
