"""The commands against a running stack with a worker, in this process, and once as processes of their own."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from solders.keypair import Keypair

from autopay.settings.stack_file import StackFile
from tests.loaded import loaded_by
from tests.stack.shell import Shell
from tests.stack.up import starter

FEED = "/api/market-feed"


@dataclass
class Operator(Shell):
    """Somebody who buys; `feed` is a paid address."""

    feed: str

    async def process(self, *arguments: str) -> tuple[str, str]:
        """Run a command that must work as a process of its own; stdout and stderr."""
        code, out, err = await starter(*arguments, "--home", str(self.home))
        assert code == 0, f"{arguments} ended with {code}: {out}{err}"
        assert "Traceback" not in err
        return out, err


@pytest.fixture
def operator(common_stack: StackFile) -> Operator:
    return Operator(Path(common_stack.home), common_stack.market_api + FEED)


async def test_a_request_is_paid_once_and_printed_as_often_as_asked(operator: Operator) -> None:
    first, receipt = await operator.process("request", operator.feed, "--id", "once")
    assert json.loads(first)["quotes"]
    assert "once: delivered, paid 0.001" in receipt
    assert (await operator.process("request", operator.feed, "--id", "once"))[0] == first
    result = json.loads((await operator.process("request", operator.feed, "--id", "once", "--json"))[0])
    assert (result["status"], result["attempts"], result["currency"]) == ("delivered", 1, "USDC")
    async with asyncio.timeout(60):
        while (hashes := await hashes_of(operator, "once")) == [None]:  # the seller's receipt comes before the chain's
            pass
    assert hashes == [result["transaction"]]


async def hashes_of(operator: Operator, request_id: str) -> list[str | None]:
    """The transactions of its payments, as the ledger lists them."""
    lines, _ = await operator.process("ledger", "show", "--agent", "default", "--json")
    return [row["hash"] for row in map(json.loads, lines.splitlines()) if row["request_id"] == request_id]


async def test_a_request_loads_nothing_that_it_does_not_use(operator: Operator) -> None:
    line = ["request", operator.feed, "--json", "--home", str(operator.home)]
    codes, loaded = await asyncio.to_thread(loaded_by, operator.home, line)
    assert codes == [0]
    assert {"temporalio", "sqlalchemy", "psycopg"} <= loaded
    assert loaded.isdisjoint({"alembic", "solana", "solders", "x402", "httpx", "aiohttp", "structlog", "fastapi"})


async def test_any_address_gets_test_money(operator: Operator) -> None:
    wallet = str(Keypair().pubkey())
    for _ in range(2):
        got = await operator.json("faucet", wallet, "--sol", "1", "--usdc", "0.5", "--cash", "0")
    assert (got["address"], got["sol"], got["cash"]["amount"]) == (wallet, "1.000000", "0.000000")
    account = await operator("faucet", got["usdc"]["account"], "--usdc", "1", code=2)
    assert "is a token account: name the wallet" in account[1]
    out, _ = await operator("faucet", wallet, "--usdc", "1")
    assert out == f"1 USDC to {wallet}, in its account {got['usdc']['account']}\n"


async def test_the_same_id_with_other_terms_buys_nothing_and_tells_of_the_first(operator: Operator) -> None:
    first = await operator.json("request", operator.feed, "--id", "terms")
    result = await operator.json("request", operator.feed + "?other", "--id", "terms", code=2)
    assert result["error"]["type"] == "terms_differ"
    assert (result["status"], result["price"]) == ("delivered", first["price"])


async def test_a_price_above_the_maximum_is_refused_and_nothing_is_paid(operator: Operator) -> None:
    result = await operator.json("request", operator.feed, "--max-price", "0.0001", code=3)
    assert (result["status"], result["transaction"], result["attempts"]) == ("refused", None, 0)
    assert result["error"]["type"] == "price_above_maximum"


async def test_a_seller_that_has_nothing_is_exit_code_4(operator: Operator) -> None:
    result = await operator.json("request", operator.feed.removesuffix(FEED) + "/nothing", code=4)
    assert (result["status"], result["http_status"]) == ("failed", 404)


async def test_an_agents_life_from_launch_to_stop(operator: Operator) -> None:
    watch = f"{operator.feed} every=1h name=feed"
    launched = await operator.json("launch", "lifer", "--phase", "full", "--watch", watch)
    assert launched["workflow_id"] == "agent/lifer"
    assert "is already running" in (await operator("launch", "lifer", code=2))[1]

    await operator("pause", "lifer", "--reason", "the audit")
    paused = await operator.json("status", "lifer")
    assert (paused["state"], paused["reason"]) == ("paused", "the audit")
    await operator("resume", "lifer")
    assert (await operator.json("status", "lifer"))["state"] == "running"

    await operator("fund", "lifer", "2")
    assert {agent["name"]: agent["state"] for agent in await operator.json("agents", "--live")}["lifer"] == "running"
    await operator("stop", "lifer", "--wait")
    assert {agent["name"]: agent["state"] for agent in await operator.json("agents", "--live")}["lifer"] == "stopped"
    assert "agent 'lifer' is not running" in (await operator("pause", "lifer", code=2))[1]
    await operator("launch", "lifer", "--phase", "full")
    await operator("stop", "lifer", "--wait")


async def test_who_is_unknown_is_exit_code_2(operator: Operator) -> None:
    for arguments in (
        ("status", "nobody"),
        ("pause", "nobody"),
        ("fund", "nobody", "1"),
        ("request", operator.feed, "--agent", "nobody"),
        ("ledger", "show", "--agent", "nobody"),
    ):
        assert "nobody" in (await operator(*arguments, code=2))[1]


async def test_weather_is_changed_shown_and_cleared(operator: Operator) -> None:
    await operator("weather", "knowledge", "--latency", "20ms", "--error-rate", "0.5")
    assert (await operator.json("weather"))["knowledge"]["latency_ms"] == 20
    await operator("weather", "--clear")
    assert (await operator.json("weather", "knowledge"))["knowledge"]["error_rate"] == 0
