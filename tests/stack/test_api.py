"""The API on a running stack: what callers can do, read by the role that only reads, and who is recorded for it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from autopay.api.app import create_app
from autopay.api.services import Services, open_services
from autopay.settings import Settings
from autopay.settings.stack_file import StackFile
from tests.stack.shell import Shell
from tests.stack.town import until

AGENT = "by-api"
JSON = {"Content-Type": "application/json"}


class Caller:
    """A program on this machine that calls the API."""

    def __init__(self, http: httpx.AsyncClient, services: Services, market: str) -> None:
        self.http = http
        self.services = services
        self.market = market

    async def get(self, path: str, **params: str) -> Any:
        """What is there."""
        answer = await self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: object = None, status: int = 200) -> Any:
        """Act, and be answered with that status."""
        answer = await self.http.post(path, json=body, headers=JSON)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def state(self) -> str:
        """What the agent does."""
        return str((await self.get(f"/api/agents/{AGENT}"))["state"])


@pytest.fixture(scope="module")
async def caller(common_stack: StackFile) -> AsyncIterator[Caller]:
    home = Path(common_stack.home)
    await Shell(home)("launch", AGENT, "--phase", "full", "--allowance", "0.1", "--tx-limit", "100")
    settings = Settings.load(home=home).resolve().for_work()
    async with open_services(settings) as services:
        transport = httpx.ASGITransport(services.access.gate(create_app(services)))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=60) as http:
            yield Caller(http, services, common_stack.market_api)


async def test_a_request_is_bought_once_and_told_with_all_that_is_known_of_it(caller: Caller) -> None:
    order = {"agent": AGENT, "url": f"{caller.market}/api/market-feed", "id": "api-1", "wait": 60}
    bought = await caller.post("/api/requests", order)
    assert (bought["status"], bought["price"]["currency"]) == ("delivered", "USDC")
    assert (await caller.post("/api/requests", order))["transaction"] == bought["transaction"]
    content = await caller.http.get(bought["content"])
    assert len(content.content) == bought["size"]
    found = await caller.get(bought["request"])
    assert found["content"]["text"] == content.text
    assert found["workflow"].startswith("http://127.0.0.1:")
    assert [each["request_id"] for each in (await caller.get("/api/transactions", agent=AGENT))["items"]] == ["api-1"]


async def test_what_is_not_over_is_answered_with_where_to_look(caller: Caller) -> None:
    order = {"agent": AGENT, "url": f"{caller.market}/api/market-feed", "id": "api-2", "wait": 0}
    answer = await caller.http.post("/api/requests", json=order)
    assert answer.status_code == 202
    assert answer.headers["location"] == answer.json()["request"]

    async def over() -> bool:
        return bool((await caller.get(answer.headers["location"]))["status"] == "delivered")

    await until(over)


async def test_what_is_refused_is_a_problem_that_says_nothing_was_paid(caller: Caller) -> None:
    order = {"agent": AGENT, "url": f"{caller.market}/api/market-feed", "id": "api-3", "max_price": "0.000001"}
    told = await caller.post("/api/requests", {**order, "wait": 60}, status=402)
    assert told["type"] == "urn:autopay:refused"
    assert "transaction" not in told["receipt"]


async def test_an_agent_is_paused_and_goes_on_and_the_ledger_knows_who_ordered_it(caller: Caller) -> None:
    await caller.post(f"/api/agents/{AGENT}/pause", {"reason": "a look at it"}, status=202)

    async def is_in(state: str) -> bool:
        return await caller.state() == state

    await until(lambda: is_in("paused"))
    paused = await caller.get(f"/api/agents/{AGENT}")
    assert (paused["paused_by_hand"], paused["why"]) == (True, "a look at it")
    assert f"resume {AGENT}" in paused["advice"][0]
    await caller.post(f"/api/agents/{AGENT}/resume", status=202)
    await until(lambda: is_in("running"))
    actions = await caller.services.sources.connections.ledger.operator_actions.newest(agent=AGENT)
    assert [(each.actor, each.action, each.outcome) for each in actions[:2]] == [
        ("local", "resume", "done"),
        ("local", "pause", "done"),
    ]


async def test_a_person_decides_on_exactly_the_terms_that_were_shown(caller: Caller) -> None:
    home = Path(str(caller.services.settings.home))
    await Shell(home)("phase", AGENT, "interactive")
    for name, decision in (("ask-1", "approve"), ("ask-2", "deny")):
        url = f"{caller.market}/api/market-feed?{name}"
        await caller.post("/api/requests", {"agent": AGENT, "url": url, "id": name, "wait": 0}, status=202)

        async def asked() -> bool:
            return bool((await caller.get("/api/approvals", agent=AGENT))["items"])

        await until(asked)
        [question] = (await caller.get("/api/approvals", agent=AGENT))["items"]
        path = f"/api/approvals/{question['id']}/{decision}"
        await caller.post(path, {"terms_hash": "0" * 64}, status=422)
        decided = await caller.post(path, {"terms_hash": question["terms_hash"]})
        assert (decided["decision"], decided["is_new"]) == ({"approve": "approved", "deny": "denied"}[decision], True)
    expected = {"ask-1": "delivered", "ask-2": "refused"}

    async def over() -> bool:
        found = {name: (await caller.get(f"/api/requests/{name}", agent=AGENT))["status"] for name in expected}
        return found == expected

    await until(over)
    await Shell(home)("phase", AGENT, "full")


async def test_what_was_delivered_is_not_asked_for_again(caller: Caller) -> None:
    told = await caller.post("/api/requests/api-1/retry", {"wait": 0}, status=422)
    assert told["rule"] == "not_undelivered"


async def test_events_and_lists_are_read_by_the_role_that_only_reads(caller: Caller) -> None:
    assert "autopay_read" in caller.services.sources.ledger.database.engine.url.render_as_string()
    for path in ("agents", "transactions", "requests", "balances", "audit", "spend", "disputes", "sessions", "sellers"):
        assert await caller.get(f"/api/{path}")
    assert (await caller.get("/api/ledger"))["events"] > 0
    live = next(each for each in (await caller.get("/api/agents"))["items"] if each["name"] == AGENT)
    assert (live["live"], live["state"]) == (True, "running")


async def test_a_revoked_session_pays_nothing_and_an_agent_stops(caller: Caller) -> None:
    [session] = (await caller.get("/api/sessions", agent=AGENT, active="true"))["items"]
    assert (await caller.post(f"/api/sessions/{session['id']}/revoke"))["is_new"] is True
    assert (await caller.post(f"/api/sessions/{session['id']}/revoke"))["is_new"] is False
    [ended] = (await caller.get("/api/sessions", agent=AGENT))["items"]
    assert ended["state"] == "REVOKED"
    await caller.post(f"/api/agents/{AGENT}/stop", status=202)

    async def stopped() -> bool:
        return await caller.state() == "stopped"

    await until(stopped)
    again = await caller.post(f"/api/agents/{AGENT}/pause", status=409)
    assert again["rule"] == "agent_not_running"


async def test_a_server_that_works_as_workers_do_still_delegates(caller: Caller) -> None:
    await Shell(caller.services.settings.home)("fund", AGENT, "0.01")
    wallet = (await caller.services.sources.ledger.agents.get(AGENT)).wallet_address
    order = {"agent": AGENT, "owner": wallet, "allowance": "0.01"}
    asked = await caller.post("/api/sessions/grants", order, 201)
    assert (asked["state"], asked["owner"]) == ("to_sign", wallet)
    again = await caller.post(f"/api/sessions/grants/{asked['session_id']}/transaction", {})
    assert (again["state"], again["session_id"]) == ("to_sign", asked["session_id"])
    ended = await caller.post("/api/sessions/revokes", {"session_id": asked["session_id"]})
    assert ended["state"] == "revoked"
