"""A short chaos run; the long one is `make chaos`."""

import os
from pathlib import Path

import pytest

from tests.chaos.__main__ import show
from tests.chaos.plan import make_plan
from tests.chaos.run import Conditions, Run

SEED = int(os.environ.get("CHAOS_SEED", "402"))


async def test_payments_among_kills_and_bad_weather_are_all_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith(("AUTOPAY_", "TEMPORAL_")):
            monkeypatch.delenv(name)
    plan = make_plan(SEED, requests=25, kills=5, workers=2)
    outcome = await Run(plan, Conditions(tmp_path / "home", patience_s=1.5, liveness_s=120, content_ask_s=10)).run()
    show(plan, outcome)  # with the seed: CHAOS_SEED repeats it
    assert outcome.wrong == []
    assert outcome.requests.total() == len(plan.purchases)
    assert outcome.kills.total() == 5
    assert {each.split()[0] for each in outcome.unreadable} == {"signal", "update"}


def test_a_seed_determines_the_plan() -> None:
    assert make_plan(7, 50, 10, 2) == make_plan(7, 50, 10, 2)
    assert make_plan(7, 50, 10, 2) != make_plan(8, 50, 10, 2)
