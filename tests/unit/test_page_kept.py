"""What the page keeps between two views: for how long, and for whom."""

import asyncio

import pytest

from autopay.api.page.frame.kept import Kept


class Clock:
    """A clock that only moves when it is told to, and a reading that takes some time by it."""

    def __init__(self, takes_s: float) -> None:
        self.now_s = 0.0
        self.reads = 0
        self._takes_s = takes_s

    def __call__(self) -> float:
        return self.now_s

    async def read(self) -> int:
        self.now_s += self._takes_s
        self.reads += 1
        await asyncio.sleep(0)
        return self.reads


@pytest.mark.parametrize(
    ("takes_s", "kept_s"),
    [
        pytest.param(0.001, 0.5, id="quick: half a second"),
        pytest.param(0.1, 1.0, id="ten times what it took"),
        pytest.param(0.5, 5.0, id="five seconds"),
        pytest.param(2.0, 5.0, id="no longer than five seconds"),
        pytest.param(30.0, 60.0, id="slow: twice what it took"),
    ],
)
async def test_a_reading_is_kept_for_a_share_of_what_it_took_and_five_seconds_at_most_unless_it_is_slow(
    takes_s: float, kept_s: float
) -> None:
    clock = Clock(takes_s)
    kept = Kept(clock.read, clock=clock)
    assert await kept() == 1
    clock.now_s += kept_s - 0.001
    assert await kept() == 1
    clock.now_s += 0.002
    assert await kept() == 2


async def test_many_viewers_cost_one_reading() -> None:
    clock = Clock(0.1)
    kept = Kept(clock.read, clock=clock)
    assert await asyncio.gather(*(kept() for _ in range(20))) == [1] * 20


async def test_what_could_not_be_read_is_not_kept() -> None:
    clock = Clock(0.1)

    async def fail_once() -> int:
        found = await clock.read()
        if found == 1:
            raise ConnectionError
        return found

    kept = Kept(fail_once, clock=clock)
    with pytest.raises(ConnectionError):
        await kept()
    assert await kept() == 2
