"""An agent's sessions as the ledger had them at most two seconds ago, read once for all payments of a worker.

Nothing here can overspend: the ledger judges the session again, in the transaction that reserves the money. What
speaks against a payment is read anew before it is refused (`activities/parse.py`, `activities/sign.py`).
"""

import time
from collections.abc import Callable, Collection

from autopay.adapters.recent import Recent
from autopay.domain.money import Currency
from autopay.domain.payment.ports import SessionFacts
from autopay.domain.refusal import Refused
from autopay.domain.session import OpenSession

AGE_S = 2.0


class RecentSessions:
    """Implements the port `SessionFacts` over the ledger's own.

    Args:
        clock: seconds that only go forward.
    """

    def __init__(self, sessions: SessionFacts, clock: Callable[[], float] = time.monotonic) -> None:
        self._sessions = sessions
        self._readings = Recent(clock)

    async def current(self, agent: str, currency: Currency) -> OpenSession | Refused:
        """See the port."""
        return await self._readings.get(
            ("session", agent, currency), AGE_S, lambda: self._sessions.current(agent, currency)
        )

    async def own_among(self, agent: str, addresses: Collection[str]) -> frozenset[str]:
        """See the port."""
        asked = frozenset(addresses)
        return await self._readings.get(("own", agent, asked), AGE_S, lambda: self._sessions.own_among(agent, asked))
