"""Waits for money to come in: on a task queue of its own, as waits must never take the place of payments."""

import asyncio

from temporalio import activity

from autopay.domain.agent.ports import AccountWatch
from autopay.domain.agent.steps import TopUpQuery
from autopay.domain.payment.ports import SessionStore
from autopay.domain.refusal import Refused

BEAT_S = 5
"""Between heartbeats, which also tell that the wait has been cancelled."""


class TopUp:
    """One wait for one agent."""

    def __init__(self, sessions: SessionStore, accounts: AccountWatch) -> None:
        self._sessions = sessions
        self._accounts = accounts

    @activity.defn(name="wait_for_top_up")
    async def wait_for_top_up(self, query: TopUpQuery) -> bool:
        """Whether an account that the agent pays from changed; False when the time is over, or it has none."""
        sessions = [await self._sessions.current(query.agent, currency) for currency in query.currencies]
        accounts = tuple(each.key.source_account for each in sessions if not isinstance(each, Refused))
        if not accounts:
            return False
        beating = asyncio.create_task(_beat())
        try:
            return await self._accounts.changed(accounts, query.timeout_s)
        finally:
            beating.cancel()


async def _beat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(BEAT_S)
