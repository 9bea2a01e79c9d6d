"""An agent's sessions are read once for all payments that come within two seconds, and for nobody else."""

import asyncio
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from autopay.adapters.postgres.sessions.recent import AGE_S, RecentSessions
from autopay.domain.errors import LedgerUnavailable
from autopay.domain.money import Currency
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import OpenSession, SessionKey
from tests.unit.test_recent_facts import Clock

KEY = SessionKey(
    session_id=uuid4(),
    agent_id=uuid4(),
    currency=Currency.USDC,
    mint="mint",
    source_account="source",
    owner="owner",
    authority="delegate",
    allowance_atomic=10_000,
)


class CountingSessions:
    """The agent `buyer` has spent one unit more at each reading; nobody else has a session."""

    def __init__(self) -> None:
        self.calls: Counter[object] = Counter()
        self.away = False

    async def current(self, agent: str, currency: Currency) -> OpenSession | Refused:
        await self._count((agent, currency))
        if agent != "buyer":
            return Refused(reason=RefusalReason.SESSION_MISSING, message=f"agent {agent} has no session")
        return OpenSession(
            key=KEY.model_copy(update={"currency": currency}),
            sealed_key="sealed",
            spent_atomic=self.calls.total(),
            payments=0,
            tx_limit=10,
            expires_at=datetime(2026, 1, 1, tzinfo=UTC),
        )

    async def own_among(self, agent: str, addresses: Collection[str]) -> frozenset[str]:
        await self._count((agent, frozenset(addresses)))
        return frozenset(addresses) & {"owner"} if agent == "buyer" else frozenset()

    async def _count(self, what: object) -> None:
        self.calls[what] += 1
        await asyncio.sleep(0)
        if self.away:
            raise LedgerUnavailable("away")


@pytest.fixture
def sessions() -> CountingSessions:
    return CountingSessions()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recent(sessions: CountingSessions, clock: Clock) -> RecentSessions:
    return RecentSessions(sessions, clock)


async def test_payments_that_come_together_share_one_reading(
    sessions: CountingSessions, recent: RecentSessions
) -> None:
    found = await asyncio.gather(*(recent.current("buyer", Currency.USDC) for _ in range(32)))
    assert {each.spent_atomic for each in found if isinstance(each, OpenSession)} == {1}
    assert len(found) == 32
    assert sessions.calls.total() == 1


@pytest.mark.parametrize(
    ("after_s", "readings"),
    [pytest.param(AGE_S, 1, id="at-the-limit"), pytest.param(AGE_S + 0.01, 2, id="too-old")],
)
async def test_a_reading_is_good_for_two_seconds(
    sessions: CountingSessions, recent: RecentSessions, clock: Clock, after_s: float, readings: int
) -> None:
    assert AGE_S == 2
    for now_s in (0.0, after_s):
        clock.now_s = now_s
        await recent.current("buyer", Currency.USDC)
        await recent.own_among("buyer", ["owner"])
    assert set(sessions.calls.values()) == {readings}


async def test_agents_currencies_and_addresses_are_told_apart(
    sessions: CountingSessions, recent: RecentSessions
) -> None:
    dollars, cash = [await recent.current("buyer", each) for each in (Currency.USDC, Currency.CASH)]
    assert isinstance(dollars, OpenSession)
    assert isinstance(cash, OpenSession)
    assert (dollars.key.currency, cash.key.currency) == (Currency.USDC, Currency.CASH)
    assert isinstance(await recent.current("other", Currency.USDC), Refused)
    assert await recent.own_among("buyer", ["owner", "seller"]) == {"owner"}
    assert await recent.own_among("buyer", ["seller"]) == frozenset()
    assert await recent.own_among("other", ["owner", "seller"]) == frozenset()
    assert set(sessions.calls.values()) == {1}
    assert len(sessions.calls) == 6


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(["seller", "owner"], id="another-order"),
        pytest.param(("owner", "seller", "owner"), id="twice"),
        pytest.param({"owner", "seller"}, id="a-set"),
    ],
)
async def test_the_same_addresses_are_one_question(
    sessions: CountingSessions, recent: RecentSessions, again: Collection[str]
) -> None:
    assert await recent.own_among("buyer", ["owner", "seller"]) == await recent.own_among("buyer", again) == {"owner"}
    assert sessions.calls.total() == 1


async def test_a_fault_is_told_to_all_who_wait_and_not_kept(sessions: CountingSessions, recent: RecentSessions) -> None:
    sessions.away = True
    asked = [recent.current("buyer", Currency.USDC) for _ in range(3)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(each, LedgerUnavailable) for each in results)
    sessions.away = False
    assert isinstance(await recent.current("buyer", Currency.USDC), OpenSession)
    assert sessions.calls.total() == 2
