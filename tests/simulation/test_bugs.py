"""A simulation that finds no bug proves nothing: each deliberate one must be found within a bounded number of seeds."""

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.patching import swapped
from tests.simulation.scenario import simulate

MOST_SEEDS = 600


@pytest.mark.parametrize("name", BUGS)
def test_a_deliberate_bug_is_found(name: str) -> None:
    with swapped(*BUGS[name]()):
        assert any(simulate(seed).violations for seed in range(MOST_SEEDS)), f"{name} was not found"
