"""Values of labels, of which there are never more than a few dozen: every value is a time series more.

What has no place of its own is `other`. A name keeps its place for the life of the process.
"""

from collections.abc import Iterable

OTHER = "other"

MOST_AGENTS = 50
MOST_SELLERS = 50


class BoundedNames:
    """The first names that come, up to a number of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def add(self, names: Iterable[str]) -> None:
        """Give these names a place, while there is room."""
        for name in names:
            self.of(name)

    def of(self, name: str) -> str:
        """The name, if it has a place or gets one; else `other`."""
        if name not in self._known and len(self._known) < self._most:
            self._known.add(name)
        return self.known(name)

    def known(self, name: str) -> str:
        """The name, if it has a place; else `other`."""
        return name if name in self._known else OTHER


AGENTS = BoundedNames(MOST_AGENTS)
"""Agents, as they come."""

SELLERS = BoundedNames(MOST_SELLERS)
"""Sellers (host and port) that were paid: those of the last days first, then as they are paid. What is only asked gets
no place, so that a thousand addresses which somebody makes up take none."""
