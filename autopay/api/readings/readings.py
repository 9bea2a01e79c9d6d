"""`Readings`: everything that can be read, for the API's routes and the page's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.api.readings.agents import read_agents
from autopay.api.readings.payments import read_payments
from autopay.domain.report.filter import Filter

if TYPE_CHECKING:
    from autopay.api.models.agents import AgentList
    from autopay.api.models.base import Page
    from autopay.api.models.payments import Payment
    from autopay.api.readings.sources import Sources

EVERYTHING = Filter()


class Readings:
    """Nothing here changes anything.

    Every method raises an `AutopayError` or a `Fault` when the ledger does not answer; an unknown agent is
    `UnknownAgent`.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def agents(self, *, state: str | None = None, after: str | None = None, limit: int = 500) -> AgentList:
        """Agents by name, with state and money; `after` is the name before the page."""
        return await read_agents(self._sources, state, after, limit)

    async def payments(
        self, wanted: Filter = EVERYTHING, *, after: str | None = None, limit: int = 50
    ) -> Page[Payment]:
        """Payments, newest first."""
        return await read_payments(self._sources, wanted, after, limit)
