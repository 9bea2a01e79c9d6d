"""What payments are signed with is read once for all of them, and never believed for longer than it says."""

import asyncio
from collections import Counter

import pytest

from autopay.adapters.recent import MAX_KEPT
from autopay.adapters.solana.recent import AGE_SLOTS, MINT_AGE_SLOTS, RecentFacts
from autopay.domain.errors import ChainUnavailable
from autopay.domain.payment.chain import Blockhash, MintFacts, TokenAccount
from tests.world.node import SimNode

SLOT_MS = 400
AGE_S = AGE_SLOTS * SLOT_MS / 1000
MINT_AGE_S = MINT_AGE_SLOTS * SLOT_MS / 1000


class CountingNode(SimNode):
    """Answers at once, with a number that grows; `away` makes it fail."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def _count(self, name: str) -> int:
        self.calls[name] += 1
        number = self.calls[name]
        await self.gate.wait()
        if self.away:
            raise ChainUnavailable("away")
        return number

    async def latest_blockhash(self) -> Blockhash:
        number = await self._count("blockhash")
        return Blockhash(blockhash=f"hash {number}", slot=number, last_valid_block_height=number + 150)

    async def mint_facts(self, mint: str) -> MintFacts | None:
        await self._count(f"mint {mint}")
        return None

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        await self._count(f"account {address}")
        return None

    async def newest_signature(self, account: str) -> str | None:
        return f"signature {await self._count(f'signature {account}')}"


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def node() -> CountingNode:
    return CountingNode()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def facts(node: CountingNode, clock: Clock) -> RecentFacts:
    return RecentFacts(node, SLOT_MS, clock)


async def test_payments_that_come_together_share_one_reading(node: CountingNode, facts: RecentFacts) -> None:
    node.gate.clear()
    asking = [asyncio.create_task(facts.latest_blockhash()) for _ in range(32)]
    await asyncio.sleep(0)
    node.gate.set()
    assert {each.blockhash for each in await asyncio.gather(*asking)} == {"hash 1"}
    assert node.calls["blockhash"] == 1


@pytest.mark.parametrize(
    ("what", "age_s"),
    [
        pytest.param("blockhash", AGE_S, id="blockhash"),
        pytest.param("account", AGE_S, id="account"),
        pytest.param("signature", AGE_S, id="newest-signature"),
        pytest.param("mint", MINT_AGE_S, id="mint"),
    ],
)
async def test_a_reading_is_used_until_it_is_too_old(
    node: CountingNode, clock: Clock, facts: RecentFacts, what: str, age_s: float
) -> None:
    async def ask() -> None:
        match what:
            case "blockhash":
                await facts.latest_blockhash()
            case "account":
                await facts.token_account("a")
            case "signature":
                await facts.newest_signature("a")
            case _:
                await facts.mint_facts("m")

    await ask()
    clock.now_s = age_s
    await ask()
    assert node.calls.total() == 1
    clock.now_s = age_s + 0.01
    await ask()
    assert node.calls.total() == 2


async def test_the_age_of_a_reading_counts_from_when_it_was_asked_for(
    node: CountingNode, clock: Clock, facts: RecentFacts
) -> None:
    node.gate.clear()
    asking = asyncio.create_task(facts.latest_blockhash())
    await asyncio.sleep(0)
    clock.now_s = AGE_S + 0.01
    node.gate.set()
    await asking
    assert (await facts.latest_blockhash()).blockhash == "hash 2"


async def test_accounts_are_told_apart(node: CountingNode, facts: RecentFacts) -> None:
    assert await facts.newest_signature("a") == await facts.newest_signature("b") == "signature 1"
    await facts.token_account("a")
    await facts.mint_facts("a")
    assert node.calls == {"signature a": 1, "signature b": 1, "account a": 1, "mint a": 1}


async def test_a_fault_is_told_to_all_who_wait_and_not_kept(node: CountingNode, facts: RecentFacts) -> None:
    node.away = True
    results = await asyncio.gather(*(facts.latest_blockhash() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, ChainUnavailable) for each in results)
    assert node.calls["blockhash"] == 1
    node.away = False
    assert (await facts.latest_blockhash()).blockhash == "hash 2"


async def test_who_is_canceled_takes_the_reading_from_nobody(node: CountingNode, facts: RecentFacts) -> None:
    node.gate.clear()
    first, second = (asyncio.create_task(facts.latest_blockhash()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait({first})
    node.gate.set()
    assert first.cancelled()
    assert (await second).blockhash == "hash 1"


async def test_no_more_is_kept_than_a_bound(node: CountingNode, facts: RecentFacts) -> None:
    for number in range(MAX_KEPT + 1):
        await facts.token_account(str(number))
    await facts.token_account("0")
    await facts.token_account(str(MAX_KEPT))
    assert (node.calls["account 0"], node.calls[f"account {MAX_KEPT}"]) == (2, 1)
