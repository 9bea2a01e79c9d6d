"""`Readings`: everything that can be read, for the API's routes and the page's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from autopay.api.readings.agent import read_agent
from autopay.api.readings.agents import read_agents
from autopay.api.readings.approvals import read_approvals
from autopay.api.readings.ledger import read_ledger, read_trail
from autopay.api.readings.payments import read_payments
from autopay.api.readings.requests import find_request, read_content, read_disputes, read_request, read_requests
from autopay.api.readings.sessions import read_sessions
from autopay.api.readings.sums import read_balances, read_dearest, read_sellers, read_spend
from autopay.domain.report.filter import Filter, SpendBy

if TYPE_CHECKING:
    from autopay.api.models.agents import Agent, AgentList
    from autopay.api.models.base import Page
    from autopay.api.models.ledger import LedgerState, TrailItem
    from autopay.api.models.money_reports import Balance, Sellers, Session, Spend
    from autopay.api.models.payments import Payment
    from autopay.api.models.requests import Approval, Dispute, Request, RequestItem
    from autopay.api.readings.requests import RequestKey
    from autopay.api.readings.sources import Sources
    from autopay.domain.payment.exchange import StoredContent

EVERYTHING = Filter()
DAY = timedelta(days=1)


class Readings:
    """Nothing here changes anything.

    Every method raises an `AutopayError` or a `Fault`: when the ledger does not answer, and for an agent, a request or
    a cursor that the ledger does not know. `after` is the `next` of the page before.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def agents(self, *, state: str | None = None, after: str | None = None, limit: int = 500) -> AgentList:
        """Agents by name, with state and money; `after` is the name before the page."""
        return await read_agents(self._sources, state, after, limit)

    async def agent(self, name: str) -> Agent:
        """One agent with all that is known of it now, and what would let it go on."""
        return await read_agent(self._sources, name)

    async def payments(
        self, wanted: Filter = EVERYTHING, *, after: str | None = None, limit: int = 50
    ) -> Page[Payment]:
        """Payments, newest first."""
        return await read_payments(self._sources, wanted, after, limit)

    async def requests(
        self, wanted: Filter = EVERYTHING, *, after: str | None = None, limit: int = 50
    ) -> Page[RequestItem]:
        """Requests, newest first; statuses are those of requests."""
        return await read_requests(self._sources, wanted, after, limit)

    async def find(self, request_id: str, agent: str | None = None) -> RequestKey:
        """The request of that id; without an agent, of the only one that has such a request."""
        return await find_request(self._sources, request_id, agent)

    async def request(self, request_id: str, agent: str | None = None) -> Request:
        """One request with its payments, timeline and content; without an agent, the only one of that id."""
        return await read_request(self._sources, await find_request(self._sources, request_id, agent))

    async def content(self, request_id: str, agent: str | None = None) -> StoredContent | None:
        """What a request bought, byte for byte; None: nothing (yet). Raises ContentPruned when it was thrown away."""
        return await read_content(self._sources, await find_request(self._sources, request_id, agent))

    async def disputes(self, agent: str | None = None, *, after: str | None = None, limit: int = 50) -> Page[Dispute]:
        """What was paid and not delivered: first those whose payment still asks, then the newest."""
        return await read_disputes(self._sources, agent, after, limit)

    async def approvals(
        self, agent: str | None = None, *, undecided: bool = True, after: str | None = None, limit: int = 50
    ) -> Page[Approval]:
        """Questions to a person, newest first."""
        return await read_approvals(self._sources, agent, after, limit, undecided=undecided)

    async def sessions(
        self, agent: str | None = None, *, active: bool = False, after: str | None = None, limit: int = 50
    ) -> Page[Session]:
        """Sessions, newest first."""
        return await read_sessions(self._sources, agent, after, limit, active=active)

    async def balances(
        self,
        agent: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        every: timedelta | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> Page[Balance]:
        """Readings of balances, newest first; with `every` the last one alone of each such span of time."""
        return await read_balances(self._sources, agent, (since, until), every, after, limit)

    async def spend(
        self, wanted: Filter = EVERYTHING, by: SpendBy | None = None, *, after: str | None = None, limit: int = 500
    ) -> Page[Spend]:
        """What was spent, by day, endpoint, seller, payee or agent, or in all, ordered by that."""
        return await read_spend(self._sources, wanted, by, after, limit)

    async def dearest(self, wanted: Filter, by: SpendBy, limit: int) -> tuple[Spend, ...]:
        """Of these sums the greatest, by what is final."""
        return await read_dearest(self._sources, wanted, by, limit)

    async def sellers(
        self, *, since: datetime | None = None, agent: str | None = None, seller: str | None = None, limit: int = 50
    ) -> Sellers:
        """How sellers did since then, by default for a day; each with its chart over time. Those that were asked most
        come first."""
        now = datetime.now(UTC)
        return await read_sellers(self._sources, since or now - DAY, now, agent, seller, limit)

    async def trail(self, wanted: Filter = EVERYTHING, *, after: str | None = None, limit: int = 50) -> Page[TrailItem]:
        """Transactions, requests and balances as one timeline, newest first."""
        return await read_trail(self._sources, wanted, after, limit)

    async def ledger(self) -> LedgerState:
        """Fence, audit chains, the newest anchor, and the cursor of the newest event."""
        return await read_ledger(self._sources)
