"""Other people's Python programs and a running stack: transports, clients, examples, and a caller that is killed."""

import asyncio
import os
import re
import runpy
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
from sqlalchemy import event

import autopay
import autopay.httpx
import autopay.httpx2
from autopay.settings.stack_file import StackFile
from tests.stack.shell import Shell

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60
QUESTION = "What about fees?"


@dataclass
class Program:
    """Somebody's program: addresses, and the agents that pay for it."""

    feed: str
    insight: str
    chat: str
    home: Path
    shell: Shell
    agent: str = "program"
    careful: str = "program-careful"

    async def weather(self, **faults: object) -> None:
        """Faults of the insights' seller; none of them clears all."""
        url = self.insight.partition("/api/")[0]
        async with httpx.AsyncClient(trust_env=False) as http:
            (await http.put(f"{url}/weather", json=faults)).raise_for_status()


@pytest.fixture(scope="module")
async def program(common_stack: StackFile) -> Program:
    home = Path(common_stack.home)
    someone = Program(
        feed=f"{common_stack.market_api}/api/market-feed",
        insight=f"{common_stack.knowledge_api}/api/ai-insights?topic=fees",
        chat=f"{common_stack.knowledge_api}/api",
        home=home,
        shell=Shell(home),
    )
    await someone.shell("launch", someone.agent, "--phase", "full", "--allowance", "1")
    await someone.shell("launch", someone.careful, "--phase", "interactive", "--allowance", "1")
    return someone


@pytest.fixture(autouse=True)
def at_home(common_stack: StackFile) -> Iterator[None]:
    """Programs find the stack by this variable."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPAY_HOME", common_stack.home)
        yield


async def test_one_changed_line_buys_with_httpx_and_every_key_pays_once(program: Program) -> None:
    transport = autopay.httpx.Transport(program.agent, max_price="0.01")
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        free = await client.get(program.feed.replace("market-feed", "status"))
        assert (free.json()["status"], "autopay" in free.extensions) == ("open", False)
        says = [{"autopay": {"id": f"feed-{number % 3}"}} for number in range(6)]
        answers = await asyncio.gather(*(client.get(program.feed, extensions=each) for each in says))
        receipts = {answer.extensions["autopay"].transaction for answer in answers}
        assert all("quotes" in answer.raise_for_status().json() for answer in answers)
        assert len(receipts) == 3
        refused = client.get(program.feed, extensions={"autopay": {"max_price": "0.000001"}})
        with pytest.raises(httpx.HTTPError) as raised:
            await refused
    assert isinstance(raised.value, autopay.httpx.PaymentRefused)
    assert raised.value.type == "price_above_maximum"


async def test_the_openai_client_buys_answers_and_streams_and_pays_once_for_a_call_that_it_repeats(
    program: Program,
) -> None:
    transport = autopay.httpx2.Transport(program.agent, timeout=0.05)  # too short for the first try
    http = httpx2.AsyncClient(transport=transport, trust_env=False)
    messages: Any = [{"role": "user", "content": QUESTION}]
    async with openai.AsyncOpenAI(base_url=program.chat, api_key="none", http_client=http, max_retries=20) as client:
        answer = await client.chat.completions.create(model="knowledge-1", messages=messages)
        assert "fees" in (answer.choices[0].message.content or "")
    async with autopay.AsyncClient(program.agent) as books:
        paid = [each for each in await books.purchases() if each.url == f"{program.chat}/chat/completions"]
        assert len(paid) == 1
    http = httpx2.AsyncClient(transport=autopay.httpx2.Transport(program.agent), trust_env=False)
    async with openai.AsyncOpenAI(base_url=program.chat, api_key="none", http_client=http) as client:
        key = {"Idempotency-Key": "chat/1"}
        stream = await client.chat.completions.create(
            model="knowledge-1", messages=messages, stream=True, extra_headers=key
        )
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert len(words) > 10
    assert "fees" in "".join(words)


@pytest.mark.parametrize(
    ("example", "address", "says"),
    [
        pytest.param("httpx_one_line.py", "feed", "paid 0.001 USDC, transaction", id="httpx"),
        pytest.param("httpx_async.py", "feed", "feed-2 0.001 USDC", id="httpx async"),
        pytest.param("requests_session.py", "feed", "'quotes'", id="requests"),
        pytest.param("openai_client.py", "chat", "the base fee confirms just as fast", id="openai"),
        pytest.param("client.py", "insight", "it costs 0.002 USDC", id="client"),
    ],
)
async def test_the_examples_run(
    program: Program, example: str, address: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [example, getattr(program, address), program.agent])
    out = StringIO()
    with redirect_stdout(out):
        await asyncio.to_thread(runpy.run_path, str(ROOT / "examples" / example), run_name="__main__")
    assert says in out.getvalue()


@pytest.mark.parametrize("number", range(4))
async def test_what_the_readme_says_can_be_pasted(program: Program, number: int) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 4
    code = blocks[number].replace("research", program.agent)
    for port, address in ((8403, program.feed), (8404, program.chat)):
        code = code.replace(f"http://127.0.0.1:{port}/api", address.removesuffix("/market-feed"))
    out = StringIO()
    with redirect_stdout(out):
        await asyncio.to_thread(exec, compile(code, "README.md", "exec"), {})
    assert out.getvalue().strip()


KILLED = {
    "httpx": """
import sys, httpx, autopay.httpx
url, agent, key = sys.argv[1:]
with httpx.Client(transport=autopay.httpx.Transport(agent), trust_env=False) as client:
    response = client.get(url, headers={"Idempotency-Key": key})
    print(response.json()["topic"], response.headers["autopay-transaction"])
""",
    "httpx2": """
import asyncio, sys, httpx2, autopay.httpx2
url, agent, key = sys.argv[1:]
async def main():
    async with httpx2.AsyncClient(transport=autopay.httpx2.Transport(agent), trust_env=False) as client:
        response = await client.get(url, extensions={"autopay": {"id": key}})
        print(response.json()["topic"], response.extensions["autopay"].transaction)
asyncio.run(main())
""",
    "requests": """
import sys, requests, autopay.requests
url, agent, key = sys.argv[1:]
with requests.Session() as session:
    session.mount("http://", autopay.requests.Adapter(agent))
    response = session.get(url, headers={"Idempotency-Key": key})
    print(response.json()["topic"], response.headers["autopay-transaction"])
""",
    "client": """
import sys, autopay
url, agent, key = sys.argv[1:]
with autopay.Client(agent) as client:
    bought = client.fetch(url, id=key)
    print(bought.json_content()["topic"], bought.receipt.transaction)
""",
}
"""A program for each way into Autopay from Python, which is killed in mid-call and run again."""


async def test_callers_killed_in_mid_call_and_run_again_pay_once_and_get_their_answers(
    program: Program, tmp_path: Path
) -> None:
    await program.weather(latency_ms=800)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name, code in KILLED.items():
        (tmp_path / f"{name}_caller.py").write_text(code)

    async def run(door: str, stdout: int | None = None) -> asyncio.subprocess.Process:
        file = str(tmp_path / f"{door}_caller.py")
        command = (sys.executable, file, program.insight, program.agent, f"killed-{door}")
        return await asyncio.create_subprocess_exec(*command, env=environment, stdout=stdout)

    async def run_and_kill(door: str) -> None:
        first = await run(door)
        deadline = time.monotonic() + PATIENCE_S
        while await books.result(f"killed-{door}") is None:
            assert time.monotonic() < deadline, door
            await asyncio.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        assert await first.wait() == -signal.SIGKILL

    async def run_again(door: str) -> None:
        second = await run(door, asyncio.subprocess.PIPE)
        said = (await asyncio.wait_for(second.communicate(), PATIENCE_S))[0].decode().split()
        assert second.returncode == 0, door
        paid = await purchases_of(door)
        deadline = time.monotonic() + PATIENCE_S
        while paid[0].transaction is None:  # the answer comes with the seller's receipt, before the chain is asked
            assert time.monotonic() < deadline, door
            await asyncio.sleep(0.05)
            paid = await purchases_of(door)
        assert said == ["fees", paid[0].transaction], door
        assert len(paid) == 1, door

    async def purchases_of(door: str) -> list[autopay.PaymentSummary]:
        return [each for each in await books.purchases(limit=200) if each.id == f"killed-{door}"]

    async with autopay.AsyncClient(program.agent) as books:
        await asyncio.gather(*map(run_and_kill, KILLED))
        await program.weather()
        await asyncio.gather(*map(run_again, KILLED))


async def test_a_client_tells_prices_results_and_budgets_and_stops_and_starts_its_agent(program: Program) -> None:
    async with autopay.AsyncClient(program.agent) as client:
        quote = await client.quote(program.feed)
        assert (str(quote.price), quote.currency, quote.affordable) == ("0.001", "USDC", True)
        assert (await client.quote(program.feed.replace("market-feed", "status"))).free
        assert await client.result("never") is None
        bought = await client.fetch(program.feed, id="once", max_price="0.01")
        found = await client.result("once")
        assert found is not None
        assert (found.content, found.receipt) == (bought.content, bought.receipt)
        with pytest.raises(autopay.TermsDiffer):
            await client.fetch(program.insight, id="once")

        host = program.feed.split("/")[2]
        assert {each.url for each in await client.purchases(host=host, limit=3)} == {program.feed}
        assert await client.purchases(host="elsewhere.example") == []
        with pytest.raises(autopay.InvalidCall, match="host: "):
            await client.purchases(host="http://elsewhere")

        await client.pause("lunch")
        with pytest.raises(autopay.PurchaseUnfinished):
            await client.fetch(program.feed, id="later", timeout=0.3)
        waiting = asyncio.create_task(client.result("later", wait=30))
        budget = await client.budget()
        assert budget.currencies[0].spendable < 1
        await client.resume()
        later = await waiting
        assert later is not None
        assert later.ok
        states = {each.agent: each.state for each in await client.agents()}
        assert {program.agent, program.careful} <= set(states)


async def test_many_threads_share_a_client_and_a_person_approves_through_it(program: Program) -> None:
    def work() -> list[bytes | None]:
        with autopay.Client(program.agent) as client, ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(client.fetch, program.feed, id=f"thread-{number % 2}") for number in range(4)]
            return [call.result().content for call in calls]

    contents = await asyncio.to_thread(work)
    assert len(set(contents)) == 2
    async with autopay.AsyncClient(program.careful) as client:
        asked = asyncio.Queue[str]()
        fetching = asyncio.create_task(
            client.fetch(program.feed, on_approval=lambda row: asked.put_nowait(str(row.approval_id)))
        )
        approval_id = await asyncio.wait_for(asked.get(), PATIENCE_S)
        assert [str(row.approval_id) for row in await client.approvals()] == [approval_id]
        assert await client.approve(approval_id)
        assert (await fetching).ok
        denying = asyncio.create_task(
            client.fetch(program.insight, on_approval=lambda row: asked.put_nowait(str(row.approval_id)))
        )
        assert await client.deny(await asyncio.wait_for(asked.get(), PATIENCE_S))
        with pytest.raises(autopay.PurchaseRefused) as raised:
            await denying
        assert raised.value.type == "approval_denied"
    hurried = autopay.httpx.Transport(program.careful, timeout=0.5)
    async with httpx.AsyncClient(transport=hurried, trust_env=False) as asking:
        with pytest.raises(httpx.ReadTimeout, match="a person is asked: autopay approve ") as waits:
            await asking.get(program.feed, extensions={"autopay": {"id": "hurried"}})
        assert isinstance(waits.value, autopay.httpx.PaymentUnfinished)


async def test_a_warm_call_makes_no_connection_and_few_questions(program: Program) -> None:
    """To the ledger: the request as it was before, whether it has ended, its result and its content."""
    statements, connections = set[str](), list[object]()

    def executed(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.add(statement)

    def connected(*_: Any) -> None:
        connections.append(_)

    async with autopay.AsyncClient(program.agent) as client:
        await client.fetch(program.feed)
        temporal = await client._backend._connections.temporal()
        engine = client._backend._connections.ledger.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", executed)
        event.listen(engine, "connect", connected)
        try:
            await client.fetch(program.feed, max_age=0)
        finally:
            event.remove(engine, "before_cursor_execute", executed)
            event.remove(engine, "connect", connected)
        assert await client._backend._connections.temporal() is temporal
    assert len(statements) <= 5, statements
    assert connections == []
