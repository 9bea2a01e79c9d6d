"""`TopUp`: the activity that waits for money, on a task queue of its own: waits must never take a payment's place."""

import asyncio

from temporalio import activity

from autopay.domain.agent.ports import AccountWatch
from autopay.domain.agent.steps import TopUpQuery
from autopay.domain.payment.ports import SessionStore
from autopay.domain.refusal import Refused

HEARTBEAT_S = 5
"""Seconds between heartbeats; the answer to one also says that the wait was canceled."""


class TopUp:
    """Waits until an account of an agent changes."""

    def __init__(self, sessions: SessionStore, accounts: AccountWatch) -> None:
        self._sessions = sessions
        self._accounts = accounts

    @activity.defn(name="wait_for_top_up")
    async def wait_for_top_up(self, query: TopUpQuery) -> bool:
        """Whether an account that the agent pays from changed; False after the time-out, or when it has none."""
        sessions = [await self._sessions.current(query.agent, currency) for currency in query.currencies]
        accounts = tuple(each.key.source_account for each in sessions if not isinstance(each, Refused))
        if not accounts:
            return False
        heartbeats = asyncio.create_task(_send_heartbeats())
        try:
            return await self._accounts.changed(accounts, query.timeout_s)
        finally:
            heartbeats.cancel()


async def _send_heartbeats() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S)
