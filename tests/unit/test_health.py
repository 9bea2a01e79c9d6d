"""`/healthz` and `/readyz`: what is said of each part, and that many who ask cost no more than one."""

import asyncio
import socket
from collections import Counter

import httpx
import pytest

import worker
from autopay.adapters.vault import Keyring
from autopay.domain.errors import ChainUnavailable, SettingsError
from autopay.health.ready import Readiness
from autopay.health.serving import health_app, serving_health
from autopay.listening import listen


def asked(readiness: Readiness) -> httpx.AsyncClient:
    """A client of it, in this process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(health_app(readiness)), base_url="http://health")


async def works() -> None: ...


async def fails() -> None:
    raise ChainUnavailable("at https://node.example/secret-api-key")


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_ready_is_who_can_use_every_part() -> None:
    readiness = Readiness("database", "chain", limit_s=0.05, max_age_s=-1)
    async with asked(readiness) as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["parts"]) == (503, {"database": "starting", "chain": "starting"})
        readiness.watch(database=works, chain=works)
        assert (await client.get("/readyz")).json() == {"status": "ready", "parts": {"database": "ok", "chain": "ok"}}
        for broken in (fails, hangs):
            readiness.watch(chain=broken)
            answer = await client.get("/readyz")
            assert (answer.status_code, answer.json()["parts"]) == (503, {"database": "ok", "chain": "failed"})
            assert "secret-api-key" not in answer.text
        readiness.watch(chain=works)
        assert (await client.get("/readyz")).status_code == 200
        readiness.is_stopping = True
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "stopping"})
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_many_who_ask_at_once_cost_one_question() -> None:
    questions: Counter[str] = Counter()

    async def count() -> None:
        questions["chain"] += 1

    readiness = Readiness("chain")
    readiness.watch(chain=count)
    await asyncio.gather(*(readiness.answer() for _ in range(50)))
    await readiness.answer()
    assert questions["chain"] == 1


async def test_other_paths_and_methods_are_refused() -> None:
    async with asked(Readiness()) as client:
        assert [(await client.get(path)).status_code for path in ("/", "/metrics", "/readyz/")] == [404] * 3
        assert (await client.post("/readyz")).status_code == 405


async def test_it_is_served_for_as_long_as_the_process_wants() -> None:
    with listen("127.0.0.1", 0) as found:
        port = found.getsockname()[1]
    async with serving_health(f"127.0.0.1:{port}", Readiness("database")), httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/healthz")).status_code == 200
        assert (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == 503
    with listen("127.0.0.1", port):
        pass


async def test_an_address_that_is_taken_is_refused_by_name() -> None:
    with listen("127.0.0.1", 0) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"AUTOPAY_HEALTH={address} cannot be listened at"):
            async with serving_health(address, Readiness()):
                pass


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize("value", ["here", "127.0.0.1:99999", "taken"])
def test_a_worker_with_a_wrong_address_ends_with_2_and_one_line(
    value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}" if value == "taken" else value
        monkeypatch.setenv("AUTOPAY_HEALTH", address)
        monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://me@127.0.0.1:1/ledger")
        monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1")
        monkeypatch.setenv("AUTOPAY_KEYRING", Keyring.generate().dump())
        monkeypatch.setattr("sys.argv", ["worker.py"])
        assert worker.main() == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"worker: AUTOPAY_HEALTH={address}")
