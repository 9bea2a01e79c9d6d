"""What callers are told when something that is needed does not answer: a plain sentence, and no server of ours."""

from collections.abc import AsyncIterator

import httpx
import pytest

from autopay.adapters.vault import Keyring
from autopay.api.app import OPENAPI, create_app
from autopay.api.services import open_services
from autopay.settings import Settings
from tests.api.conftest import NOWHERE
from tests.ledger.books import Book

SECRETS = ("127.0.0.1", "port 1", "keeper", "hidden-name", "hidden-word", "refused")
ONE = "00000000-0000-0000-0000-000000000007"


@pytest.fixture
async def without_ledger(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application whose database does not answer."""
    url = f"postgresql://keeper:hidden-word@{NOWHERE}/hidden-name"
    values = {"database_url": url, "keyring": Keyring.generate().dump(), "solana_rpc_url": f"http://{NOWHERE}"}
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOWHERE)
    async with open_services(Settings.load(**values).resolve()) as services:
        transport = httpx.ASGITransport(services.access.gate(create_app(services)), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


def says_no_server(text: str) -> None:
    assert [each for each in SECRETS if each in text] == []


async def test_without_the_database_no_answer_names_it_and_the_log_does(
    without_ledger: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    paths = (await without_ledger.get(OPENAPI)).json()["paths"]
    reads = [path for path, methods in paths.items() if "get" in methods and path.startswith("/api/")]
    assert len(reads) > 15
    told = 0
    for path in reads:
        filled = path.replace("{endpoint_id}", ONE).replace("{name}", "trader").replace("{request_id}", "monday-1")
        answer = await without_ledger.get(filled)
        says_no_server(answer.text)
        if answer.status_code == 503:
            told += 1
            assert answer.json()["rule"] == "ledger_unavailable", path
            assert answer.json()["detail"] == "The ledger's database (AUTOPAY_DATABASE_URL) does not answer"
    assert told > 15
    assert "127.0.0.1" in caplog.text
    for act in ("/api/agents/trader/pause", "/api/sessions/" + ONE + "/revoke"):
        says_no_server((await without_ledger.post(act, json={} if "pause" in act else None, headers=ACT)).text)
    for page in ("/", "/agents", "/payments", "/approvals", "/disputes", "/audit"):
        answer = await without_ledger.get(page)
        assert answer.status_code == 503
        says_no_server(answer.text)


ACT = {"Content-Type": "application/json"}


async def test_without_temporal_no_answer_names_it_nor_does_the_record_of_the_order(
    api: httpx.AsyncClient, book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    for path in ("/api/agents", "/api/agents/buyer"):
        answer = (await api.get(path)).json()
        assert answer["problem"] == "Temporal does not answer"
    answer = await api.post("/api/agents/buyer/pause", json={}, headers=ACT)
    assert (answer.status_code, answer.json()["detail"]) == (503, "Temporal does not answer")
    [order] = await book.ledger.operator_actions.newest()
    assert order.error == "Temporal does not answer"
    assert NOWHERE in caplog.text
