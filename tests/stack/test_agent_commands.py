"""The commands of agents against a running stack with a worker, in this process: changed while they run, and many."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.cli.demo.context import stop_earlier_agents
from autopay.domain.phase import Phase
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from autopay.temporal.connection import connect
from tests.stack.shell import Shell

PATIENCE_S = 60
FEED = "/api/market-feed"


@dataclass
class Operator(Shell):
    """Somebody who runs agents; `market` is a paid API."""

    market: str
    ledger: PostgresLedger

    async def launched(self, name: str, *more: str) -> str:
        """An agent that runs, in phase FULL unless told otherwise; its name."""
        await self("launch", name, "--phase", "full", "--allowance", "0.1", "--tx-limit", "100", *more)
        return name

    async def states(self, *more: str) -> dict[str, str]:
        """Every agent's state, as the list shows it."""
        return {line["name"]: line["state"] for line in await self.json("agents", *more)}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for it, not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


@pytest.fixture
async def shell(common_stack: StackFile) -> AsyncIterator[Operator]:
    home = Path(common_stack.home)
    ledger = open_ledger(Settings.load(home=home).resolve().database_url)
    yield Operator(home, common_stack.market_api, ledger)
    await ledger.dispose()


async def test_a_running_agent_is_changed(shell: Operator) -> None:
    name = await shell.launched("changes")
    await shell("rules", name, "--threshold", "usdc=0.05", "--max-in-flight", "3")
    rules = await shell.json("rules", name, "--buy-what-fits")
    assert (rules["thresholds"]["USDC"], rules["max_in_flight"], rules["buy_what_fits"]) == (50_000, 3, True)
    assert "0.05 USDC" in (await shell("rules", name, "--show"))[0]

    await shell("phase", name, "interactive")
    assert (await shell.ledger.agents.get(name)).phase == Phase.INTERACTIVE
    await shell("watch", name, f"{shell.market}{FEED} every=1h name=feed")
    (watch,) = (await shell.json("status", name))["watches"]
    assert watch["watch"]["name"] == "feed"
    await shell("unwatch", name, "feed")
    assert (await shell.json("status", name))["watches"] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["unwatch", "rejects", "nothing"], "agent 'rejects' rejects that: there is no watch 'nothing'"),
        (["watch", "rejects", "http://127.0.0.1/x every=1h currency=CASH"], "this agent pays in USDC, not in CASH"),
        (["rules", "rejects", "--max-in-flight", "1000"], "less than or equal to 100"),
        (["phase", "nobody", "full"], "agent 'nobody' is not running"),
        (["queue", "nobody"], "there is no agent 'nobody'"),
        (["cancel", "rejects", "nothing"], "has no request 'nothing'"),
    ],
)
async def test_what_an_agent_rejects_is_one_line_and_exit_code_2(
    shell: Operator, arguments: list[str], says: str
) -> None:
    if "rejects" in arguments and (await shell.states()).get("rejects") is None:
        await shell.launched("rejects")
    assert says in (await shell(*arguments, code=2))[1]


async def test_what_is_fresh_is_not_bought_again(shell: Operator) -> None:
    name = await shell.launched("fresh")
    url = shell.market + FEED
    first = await shell.json("request", url, "--agent", name, "--id", "first")
    again = await shell.json("request", url, "--agent", name, "--max-age", "5m")
    assert (again["status"], again["content_of"], again["transaction"]) == ("fresh", "first", None)
    content, said = await shell("request", url, "--agent", name, "--max-age", "5m")
    assert content == (await shell("request", url, "--agent", name, "--id", "first"))[0]
    assert "fresh: bought " in said
    assert "as first; --fresh buys it again" in said
    anew = await shell.json("request", url, "--agent", name, "--fresh")
    assert anew["status"] == "delivered"
    assert anew["transaction"] not in (None, first["transaction"])
    assert (await shell.json("request", url, "--agent", name))["status"] == "delivered", (
        "nothing says how old it may be"
    )
    await shell("watch", name, f"{url} every=1h")
    assert (await shell.json("request", url, "--agent", name))["status"] == "fresh"


async def test_what_waits_is_listed_and_canceled(shell: Operator) -> None:
    name = await shell.launched("waits")
    url = shell.market + FEED
    await shell("pause", name)
    for request_id in ("one", "two"):
        await shell("request", url, "--agent", name, "--id", request_id, "--timeout", "1s", code=7)
    waiting = await shell.json("queue", name)
    assert sorted(each["request_id"] for each in waiting) == ["one", "two"]
    assert "is paused: paused by signal" in (await shell("queue", name))[1]
    assert "one: refused, canceled" in (await shell("cancel", name, "one", "--wait"))[0]
    assert "has ended: one: refused" in (await shell("cancel", name, "one", code=2))[1]
    refused = await shell.json("request", url, "--agent", name, "--id", "two", "--max-price", "0.5", code=2)
    assert "another maximum price (none, not 0.500000), which is waiting" in refused["error"]["message"]
    await shell("stop", name, "--wait")
    out, err = await shell("queue", name)
    assert "two" in out
    assert "does not run: autopay launch waits" in err
    assert "until then 'two' waits in its queue" in (await shell("cancel", name, "two", code=2))[1]


async def test_a_paused_agent_says_what_would_help(shell: Operator) -> None:
    name = await shell.launched("short", "--watch", f"{shell.market}{FEED} every=1s")
    await shell("rules", name, "--threshold", "usdc=0.2")

    async def is_short() -> bool:
        return (await shell.states("--state", "paused")).get(name) == "paused"

    await until(is_short)
    out, _ = await shell("status", name)
    assert out.startswith("short is paused: ")
    assert "0.2 USDC needed: autopay session grant short --allowance 1" in out
    assert "session has 0." in out
    (line,) = [each for each in await shell.json("agents", "--live", "--state", "paused") if each["name"] == name]
    assert (line["live"], "0.2 USDC needed" in line["why"]) == (True, True)
    await shell("session", "grant", name, "--allowance", "1")

    async def goes_on() -> bool:
        return bool((await shell.json("status", name))["state"] == "running")

    await until(goes_on)
    await shell("stop", name)
    out, _ = await shell("status", name, "--watch")  # ends by itself with the agent
    assert "short is stopped" in out


async def test_a_file_of_agents_is_launched_as_far_as_it_can_be(shell: Operator, tmp_path: Path) -> None:
    await shell.launched("file-runs")
    await shell.ledger.agents.create("file-anothers", Phase.FULL, "another wallet")
    names = ["file-runs", "file-anothers", *(f"file-{n}" for n in range(5))]
    file = tmp_path / "agents.toml"
    defaults = '[defaults]\nphase = "full"\nallowance = "0.01"\nthresholds = { usdc = "0.001" }\n'
    file.write_text(defaults + "".join(f'[[agent]]\nname = "{name}"\n' for name in names))
    await shell("launch", "--file", str(file), "--dry-run")
    assert await shell.ledger.sessions.list("file-anothers") == []
    out, err = await shell("launch", "--file", str(file), "--json", code=1)
    outcomes = {line["agent"]: line["outcome"] for line in map(json.loads, out.splitlines())}
    assert outcomes == {"file-runs": "running", "file-anothers": "failed"} | dict.fromkeys(names[2:], "launched")
    assert "belongs to wallet another wallet" in err
    assert "1 of 7 agents were not launched" in err
    assert len(await shell.ledger.sessions.list("file-runs")) == 1

    async def all_run() -> bool:
        states = await shell.states("--state", "running")
        return set(names) - states.keys() == {"file-anothers"}

    await until(all_run)
    assert (await shell.json("status", "file-3"))["rules"]["thresholds"]["USDC"] == 1_000
    rows = await shell.json("agents", "--sort", "spendable")
    listed = [row for row in rows if row["name"].startswith("file-")]
    assert listed[0]["name"] == "file-anothers"
    assert listed[0]["state"] == "never launched"
    assert listed[1]["spendable_atomic"] == {"USDC": 10_000}


async def test_agents_that_a_killed_demo_left_are_stopped_by_the_next_one_and_others_are_not(shell: Operator) -> None:
    for name in ("demo-0101-000000", "demonstrator"):
        await shell.launched(name)
    settings = Settings.load(home=shell.home).resolve()
    assert await stop_earlier_agents(settings, shell.ledger, await connect(settings)) == ["demo-0101-000000"]
    await shell("stop", "demonstrator", "--wait")
