"""When each watch is due: its data is bought when stale, not before, and not all watches at once. Pure.

- **First purchase.** Watches that are launched together are spread: each is first due at a fixed point of the first
  `SPREAD_S` seconds a watch (0.5 s: a hundred watches within 50 s), at most its own window; the point follows from the
  names of agent and watch. From then on the windows themselves keep them apart.
- **Fresh.** Content for the watch's method and URL, whoever asked for it, makes it due one window later.
- **Without content.** A request that ended without content is made again after 5 s, doubling up to an hour; one that
  was paid for not before its window has passed, either.
"""

import hashlib
from datetime import datetime, timedelta

from pydantic import BaseModel

from autopay.domain.agent.spec import Watch
from autopay.domain.backoff import Backoff

SPREAD_S = 0.5
RETRY = Backoff(timedelta(seconds=5), timedelta(hours=1))


class WatchPlan(BaseModel):
    """When a watch is due; `last` is when its content came, `misses` counts requests in a row that brought none."""

    due: datetime
    last: datetime | None = None
    misses: int = 0


class WatchSchedule(BaseModel):
    """Plans by the name of their watch."""

    plans: dict[str, WatchPlan] = {}

    def update(self, agent: str, watches: tuple[Watch, ...], now: datetime) -> None:
        """Plan the watches that have no plan yet, and drop the plans of those that are gone."""
        names = {watch.name for watch in watches}
        if names == self.plans.keys():
            return
        spread_s = SPREAD_S * len(watches)
        for watch in watches:
            if watch.name not in self.plans:
                wait_s = _fraction(agent, watch.name) * min(spread_s, watch.every_s)
                self.plans[watch.name] = WatchPlan(due=now + timedelta(seconds=wait_s))
        for name in self.plans.keys() - names:
            del self.plans[name]

    def drop(self, name: str) -> None:
        """Drop the plan of a watch that was removed or replaced."""
        self.plans.pop(name, None)

    def record_request(self, watch: Watch, now: datetime) -> None:
        """A request was made for it; if no notice of that ever comes, it is due again a window later."""
        due = now + timedelta(seconds=watch.every_s)
        self.plans.setdefault(watch.name, WatchPlan(due=due)).due = due

    def record_content(self, watch: Watch, at: datetime) -> None:
        """Content for it came at that time."""
        plan = self.plans.get(watch.name)
        if plan is not None and (plan.last is None or plan.last < at):
            plan.last, plan.misses, plan.due = at, 0, at + timedelta(seconds=watch.every_s)

    def record_failure(self, watch: Watch, now: datetime, *, paid: bool = False) -> None:
        """Its request ended without content; `paid`: although it was paid for."""
        plan = self.plans.get(watch.name)
        if plan is None:
            return
        wait = RETRY.wait(plan.misses)
        plan.misses += 1
        plan.due = now + (max(wait, timedelta(seconds=watch.every_s)) if paid else wait)

    def is_due(self, watch: Watch, now: datetime) -> bool:
        """Whether it is to be bought now."""
        plan = self.plans.get(watch.name)
        return plan is not None and plan.due <= now

    def stale_since(self, watch: Watch) -> datetime | None:
        """When its data became older than its window; before the first purchase, when it was first due."""
        plan = self.plans.get(watch.name)
        if plan is None:
            return None
        return plan.due if plan.last is None else plan.last + timedelta(seconds=watch.every_s)

    def staleness(self, watch: Watch, now: datetime) -> float:
        """The age of its data in windows, at least 1."""
        since = self.stale_since(watch)
        late_s = (now - since).total_seconds() if since is not None else 0.0
        return 1 + max(0.0, late_s) / watch.every_s


def _fraction(agent: str, watch: str) -> float:
    """A number from 0 to 1 that is always the same for these names."""
    return int.from_bytes(hashlib.sha256(f"{agent}/{watch}".encode()).digest()[:4]) / 2**32
