"""Virtual time passes at once, in order, and stops when nothing can happen any more."""

import asyncio

import pytest

from tests.world.clock import NothingLeft, now_ms, run_virtually, sleep_ms


def test_an_hour_passes_at_once_and_in_order() -> None:
    async def story() -> list[tuple[str, int]]:
        seen: list[tuple[str, int]] = []

        async def later(name: str, wait_ms: int) -> None:
            await sleep_ms(wait_ms)
            seen.append((name, now_ms()))

        await asyncio.gather(later("hour", 3_600_000), later("second", 1_000), later("minute", 60_000))
        return seen

    assert run_virtually(story()) == [("second", 1_000), ("minute", 60_000), ("hour", 3_600_000)]


def test_waiting_for_what_cannot_happen_is_noticed() -> None:
    async def story() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(NothingLeft):
        run_virtually(story())
