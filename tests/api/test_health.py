"""The API's `/healthz` and `/readyz`: for everybody, and with nothing but names and states."""

import httpx

from autopay.api.app import create_app
from autopay.api.services import Services
from tests.api.conftest import NOWHERE


async def test_the_api_is_alive_and_not_ready_while_temporal_does_not_answer(api: httpx.AsyncClient) -> None:
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "parts": {"database": "ok", "temporal": "failed"}}
    assert NOWHERE not in answer.text


async def test_it_is_ready_with_both(services: Services, api: httpx.AsyncClient) -> None:
    async def works() -> None: ...

    services.readiness.watch(temporal=works)
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ready")


async def test_callers_without_a_token_may_ask_both(services: Services) -> None:
    transport = httpx.ASGITransport(services.access.gate(create_app(services)))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        from_proxy = {"X-Forwarded-For": "203.0.113.7"}
        assert (await client.get("/api/agents", headers=from_proxy)).status_code == 401
        assert (await client.get("/healthz", headers=from_proxy)).status_code == 200
        assert (await client.get("/readyz", headers=from_proxy)).status_code == 503
