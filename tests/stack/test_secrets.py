"""Purchases with planted secrets, and then a search of everything that is kept: none is found in clear.

A query string is data, not a secret: the ledger has it in clear, as it is part of what was bought. Nothing else has.
"""

import asyncio
import base64
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest
from google.protobuf import json_format
from temporalio.client import Client

from autopay.adapters.postgres import open_ledger
from autopay.adapters.vault import Keyring, Vault
from autopay.cli.app import run
from autopay.domain.payment.adoption import ADOPT_ID
from autopay.domain.request import x402_request_id
from autopay.settings import Settings
from autopay.settings.stack_file import KEYRING_FILE, OWNER_FILE, StackFile
from autopay.temporal.codec import KEY_ID, PURPOSE, SealedPayloads
from localnet.stack import Stack
from tests.stack.needles import kept_by_database, kept_by_temporal, kept_in_files, written

PATIENCE_S = 60
HEADER, BODY, QUERY = (f"planted-{what}-{secrets.token_hex(16)}" for what in ("header", "body", "query"))
AGENT = "shopper"


@dataclass(frozen=True)
class Home:
    """A stack in which purchases with planted secrets were made, and all that must not be found there."""

    path: Path
    stack: Stack
    addresses: StackFile
    keyring: Keyring
    needles: dict[str, set[bytes]]

    def found(self, name: str, hay: bytes) -> list[str]:
        """Which needles are in it."""
        return [f"{what} in {name}" for what, forms in self.needles.items() if any(form in hay for form in forms)]


@pytest.fixture(scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    path = tmp_path_factory.mktemp("secrets") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOPAY_HOME", str(path))
        stack = Stack(path, slot_ms=50, workers=1, ephemeral=True, report=lambda _: None)
        async with stack as addresses:
            await _buy(path, addresses)
            settings = Settings.load(home=path).resolve()
            keyring = Keyring.parse(settings.keyring.get_secret_value())
            yield Home(path, stack, addresses, keyring, await _needles(path, addresses, keyring))


async def _run(path: Path, *arguments: str, code: int = 0) -> None:
    assert await asyncio.to_thread(run, [*arguments, "--home", str(path)]) == code, arguments


async def _buy(path: Path, addresses: StackFile) -> None:
    """Both versions of the protocol, both methods; then a seller without it, and one that is not there."""
    market, knowledge = addresses.market_api, addresses.knowledge_api
    body = ("--json-body", json.dumps({"question": "what do fees cost?", "api_key": BODY}))
    await _run(path, "launch", AGENT, "--phase", "full", "--allowance", "5", "--tx-limit", "100")

    async def ask(request_id: str, url: str, *more: str, code: int = 0) -> None:
        secret = ("--header", f"Authorization: Bearer {HEADER}", *more)
        await _run(path, "request", f"{url}?token={QUERY}", "--id", request_id, "--agent", AGENT, *secret, code=code)

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        await asyncio.gather(
            ask("buy-0", f"{knowledge}/api/ai-insights", *body),
            ask("buy-1", f"{knowledge}/v1/api/ai-insights", *body),
            ask("buy-2", f"{market}/api/market-feed"),
            ask("buy-3", f"{market}/v1/api/market-feed"),
            ask("nothing", f"{market}/nothing", code=4),
            ask("nobody", f"http://127.0.0.1:{unused.getsockname()[1]}/api", code=4),
        )
    await _all_settled(addresses)


async def _all_settled(addresses: StackFile) -> None:
    ledger, deadline = open_ledger(addresses.database_url), time.monotonic() + PATIENCE_S
    while await ledger.payments.open_attempts():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    await ledger.dispose()


async def _needles(path: Path, addresses: StackFile, keyring: Keyring) -> dict[str, set[bytes]]:
    """Every secret in every form. The public half of a keypair is none."""
    vault, ledger = Vault(keyring), open_ledger(addresses.database_url)
    owner = bytes(json.loads((path / OWNER_FILE).read_text()))
    found = {"the owner's key": written(owner[:32]) | written(owner)}
    with psycopg.connect(addresses.database_url) as db:
        sessions = db.execute("SELECT id, session_token FROM sessions WHERE session_token <> ''").fetchall()
    assert sessions
    for number, (row, sealed) in enumerate(sessions):
        key = vault.open(sealed, purpose="session-key", row=str(row))
        found[f"session key {number}"] = written(key[:32]) | written(key)
    for number in range(4):
        request_key = x402_request_id(AGENT, f"buy-{number}")
        attempt = await ledger.payments.attempt(request_key, 1)
        assert attempt is not None
        header = vault.open(attempt.sealed, purpose="payment", row=f"{request_key}/1")
        found[f"payment header {number}"] = written(header)
    await ledger.dispose()
    for part in keyring.dump().split(","):
        version, _, text = part.partition(":")
        found[f"key {version} of the keyring"] = written(base64.b64decode(text))
    found["the payloads' key"] = written(keyring.subkey(keyring.newest, PURPOSE))
    return found | {"the header": written(HEADER.encode()), "the body": written(BODY.encode())}


async def test_nothing_that_temporal_keeps_shows_a_secret_or_a_query(home: Home) -> None:
    query, hits, names = written(QUERY.encode()), [], []
    async for name, hay in kept_by_temporal(home.addresses.temporal):
        names.append(name)
        hits += home.found(name, hay)
        hits += [f"the query in {name}"] if any(form in hay for form in query) else []
    assert hits == []
    assert f"history of workflow pay/{AGENT}/buy-0 as JSON" in names
    assert f"history of workflow agent/{AGENT} as JSON" in names
    assert "schedule autopay-adopt" in names


async def test_no_table_shows_a_secret(home: Home) -> None:
    tables = dict(kept_by_database(home.addresses.database_url))
    assert [hit for name, hay in tables.items() for hit in home.found(name, hay)] == []
    assert QUERY.encode() in tables["table api_request_logs"], "the search finds what is there"


async def test_no_file_shows_a_secret_and_none_but_the_databases_the_query(home: Home) -> None:
    files = dict(kept_in_files(home.path))
    assert [hit for name, hay in files.items() for hit in home.found(name, hay)] == []
    shown = {name for name, hay in files.items() if QUERY.encode() in hay}
    assert {name.split("/")[0] for name in shown} <= {"file postgres"}
    assert {"file logs/worker-1.log", "file logs/codec.log", "file temporal.db"} <= set(files)
    assert b"worker ready" in files["file logs/worker-1.log"]


async def test_what_is_sealed_in_temporal_is_what_was_planted(home: Home) -> None:
    client = await Client.connect(home.addresses.temporal)
    history = await client.get_workflow_handle(f"pay/{AGENT}/buy-0").fetch_history()
    sealed = history.events[0].workflow_execution_started_event_attributes.input.payloads
    opened, _release = await SealedPayloads(home.keyring).decode(sealed)
    assert f"?token={QUERY}".encode() in opened.data


async def test_after_a_rotation_everything_goes_on_and_the_schedule_is_sealed_anew(home: Home) -> None:
    rotated = home.keyring.with_new_key()
    await home.stack.stop_workers()
    (home.path / KEYRING_FILE).write_text(rotated.dump())
    await home.stack.start_workers(1)
    await home.stack.restart("codec")
    await _run(home.path, "vault", "rotate")
    await _run(home.path, "request", f"{home.addresses.market_api}/api/market-feed", "--agent", AGENT)
    client = await Client.connect(home.addresses.temporal)
    described = (await client.get_schedule_handle(ADOPT_ID).describe()).raw_description
    order = described.schedule.action.start_workflow.input
    assert order.payloads[0].metadata[KEY_ID] == b"2"
    async with httpx.AsyncClient(trust_env=False) as http:
        opened = await http.post(f"{home.addresses.codec}/decode", json=json_format.MessageToDict(order))
    assert b"older_than_s" in base64.b64decode(opened.raise_for_status().json()["payloads"][0]["data"])


def test_a_secret_is_found_however_it_is_written_down() -> None:
    secret = secrets.token_bytes(32)
    longer = b"ab" + secret + b"c"
    for hay in (
        longer,
        longer.hex().encode(),
        json.dumps({"key": list(secret)}).encode(),
        base64.b64encode(longer),
        base64.b64encode(b"x" + longer),
        base64.urlsafe_b64encode(b"xy" + longer),
    ):
        assert any(form in hay for form in written(secret))
    assert not any(form in base64.b64encode(secrets.token_bytes(99)) for form in written(secret))
