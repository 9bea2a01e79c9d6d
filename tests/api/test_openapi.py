"""The OpenAPI document, and requests made from it: whatever it allows is answered as it says."""

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.core.result import Ok

from autopay.adapters.postgres import open_ledger
from autopay.adapters.vault import Keyring
from autopay.api.app import OPENAPI, create_app
from autopay.api.services import open_services
from autopay.api.serving import ApiServer
from autopay.gateway.serving import url_of
from autopay.listening import listen
from autopay.settings import Settings
from localnet.postgres.server import EmbeddedPostgres
from tests.databases import Databases
from tests.ledger.books import open_book

PATIENCE_S = 60
EXAMPLES = 4
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
"""Not that everything is accepted that has the right type: a text can be no time, no cursor, no host."""

NOT_ENDED = "/api/events"
"""Its answer has no end: tests/api/test_events.py reads it."""


class Server(threading.Thread):
    """The application in a thread with an event loop of its own, over a ledger with the agent of the examples."""

    def __init__(self, database_url: str) -> None:
        super().__init__(daemon=True)
        self.url = ""
        self.ready = threading.Event()
        self._database_url = database_url
        self._on_end: Callable[[], object] = list

    def run(self) -> None:
        asyncio.run(self._serve())

    def end(self) -> None:
        """Stop it, and wait until it has ended."""
        self._on_end()
        self.join(PATIENCE_S)
        assert not self.is_alive()

    async def _serve(self) -> None:
        ledger = open_ledger(self._database_url)
        book = await open_book(ledger, "trader")
        attempt = await book.recorded(await book.accepted("monday-1"))
        await book.settled(attempt)
        await book.delivered(attempt)
        values = {"database_url": self._database_url, "keyring": Keyring.generate().dump()}
        stand = Settings.load(**values, solana_rpc_url="http://127.0.0.1:1").resolve()
        loop = asyncio.get_running_loop()
        listening = listen("127.0.0.1", 0)
        async with open_services(stand) as services:
            server = ApiServer(services.access.gate(create_app(services)), listening, services.stream.stop)
            self._on_end = partial(loop.call_soon_threadsafe, server.stop)
            self.url = url_of(listening)
            self.ready.set()
            await server.run()
        await ledger.dispose()


@pytest.fixture(scope="module")
def server(postgres: EmbeddedPostgres, databases: Databases) -> Iterator[str]:
    """The address of a server; Temporal does not answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
        name = databases.take()
        serving = Server(postgres.url(name))
        serving.start()
        assert serving.ready.wait(PATIENCE_S)
        yield serving.url
        serving.end()
        databases.give_back(name)


@pytest.fixture(scope="module")
def document(server: str) -> schemathesis.BaseSchema:
    """What the server says of itself."""
    return schemathesis.openapi.from_url(f"{server}{OPENAPI}")


FEW = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def try_all(document: schemathesis.BaseSchema, method: str, check: Callable[[schemathesis.Case[Any]], None]) -> None:
    """Call each operation of that method a few times, with whatever the document allows."""
    chosen = document.include(method=method).exclude(path=NOT_ENDED)
    for found in chosen.get_all_operations():
        assert isinstance(found, Ok), found
        FEW(given(case=found.ok().as_strategy())(check))()


def test_whatever_can_be_read_is_answered_as_the_document_says(document: schemathesis.BaseSchema) -> None:
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS, timeout=PATIENCE_S)

    try_all(document, "GET", check)


def test_no_order_makes_the_server_fail(document: schemathesis.BaseSchema) -> None:
    def check(case: schemathesis.Case[Any]) -> None:
        answer = case.call(timeout=PATIENCE_S)
        assert answer.status_code != 500, answer.text
        assert answer.status_code < 300 or answer.headers["content-type"][0] == "application/problem+json"

    try_all(document, "POST", check)


def test_every_path_says_what_it_does_and_has_a_name_that_stays(document: schemathesis.BaseSchema) -> None:
    raw = document.raw_schema
    operations = [operation for methods in raw["paths"].values() for operation in methods.values()]
    assert len(operations) >= 24
    assert [each["operationId"] for each in operations if not each.get("description")] == []
    assert "HTTPValidationError" not in raw["components"]["schemas"]


DOCS = Path(__file__).parents[2] / "docs"
NOT_HERE = {"temporal_unreachable", "terms_differ"}
"""What stands against the examples' orders here: Temporal does not answer, and the id belongs to another URL."""


def curl_lines(text: str) -> Iterator[list[str]]:
    """The words of each curl command in the text's shell blocks."""
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        statement = ""
        for line in block.splitlines():
            statement += f"{line}\n"
            try:
                words = shlex.split(statement, comments=True)
            except ValueError:  # a quote that ends in a later line
                continue
            statement = ""
            if words[:1] == ["curl"]:
                yield words


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed, which the examples are for")
def test_each_curl_line_of_the_docs_is_answered_as_the_docs_say(server: str, tmp_path: Path) -> None:
    lines = [line for name in ("api.md", "webhooks.md", "page.md") for line in curl_lines((DOCS / name).read_text())]
    assert len(lines) >= 10
    for words in lines:
        told = [word.replace("$api", f"{server}/api") for word in words]
        if "-N" in told:
            with subprocess.Popen(told, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as stream:
                assert stream.stdout is not None
                assert stream.stdout.readline() == b": connected\n", words
                stream.kill()
            continue
        more = ["-sS", "--max-time", str(PATIENCE_S), "-w", "\n%{http_code}"]
        done = subprocess.run([*told, *more], cwd=tmp_path, capture_output=True, text=True, check=True)
        body, _, status = done.stdout.rpartition("\n")
        assert status in ("200", "202") or json.loads(body)["rule"] in NOT_HERE, (words, done.stdout)
    assert (tmp_path / "report.json").stat().st_size > 0
