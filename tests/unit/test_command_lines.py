"""Every command line that a message proposes is one that this program takes, also in a shell."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from autopay.cli.app import build_app
from autopay.client.requests.order import RequestOrder
from autopay.client.requests.text import next_step, try_again
from autopay.domain import errors
from autopay.domain.money import Currency
from autopay.domain.request import RequestRecord, RequestResult, RequestSpec, RequestStatus
from autopay.domain.text.command_line import CALL, Call, command_line, home_among, worker_command_line
from autopay.own_call import own_call
from tests.unit.test_house import modules

SESSION = "0193fa2c-0000-7000-8000-000000000001"

SAMPLES = {
    "endpoint.endpoint_id": "00000000-0000-0000-0000-000000000001",
    "name": "trader",
    "self.name": "trader",
    "agent.name": "trader",
    "self._agent.name": "trader",
    "status.name": "trader",
    "order.name": "trader",
    "agent": "trader",
    "held.agent": "trader",
    "found.name": "trader",
    "row.agent": "trader",
    "record.agent": "trader",
    "order.agent": "trader",
    "session.agent": "trader",
    "each.agent.name": "trader",
    "name or 'trader'": "trader",
    "request_id": "report-7",
    "order.request_id": "report-7",
    "record.spec.request_id": "report-7",
    "wanted.name": "market-feed",
    "session_id": SESSION,
    "row.id": SESSION,
    "record.session_id": SESSION,
    "session.session_id": SESSION,
    "ended.session_id": SESSION,
    "last.session_id": SESSION,
    "view.status.name": "trader",
    "first": SESSION,
    "approval.approval_id": SESSION,
    "other.approval_id": SESSION,
    "str(asked[0].approval_id)": SESSION,
    "version": "2",
    "newest": "2026-11-22",
    "missing": "1.5",
    "feed": "http://127.0.0.1:8403/api/market-feed",
    "file": "my grant.json",
    "path": "my grant.json",
    "(file := default_file(record))": "session-0193fa2c.json",
    "default_file(record)": "session-0193fa2c.json",
}
"""What the expressions in the proposals stand for."""


@pytest.fixture
def in_a_home() -> Iterator[None]:
    """The command that speaks was given a home."""
    before = CALL.set(Call(home="a home"))
    yield
    CALL.reset(before)


def proposals() -> Iterator[tuple[str, list[str]]]:
    """The words of each `command_line(...)` of the product, and where it is; starred words have tests of their own."""
    for module, path in modules().items():
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "command_line(" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "command_line":
                words = [each for each in node.args if not isinstance(each, ast.Starred)]
                if words:
                    yield f"{module}:{node.lineno}", [_sample(each) for each in words]


def _sample(word: ast.expr) -> str:
    if isinstance(word, ast.Constant):
        return str(word.value)
    text = ast.unparse(word)
    return SAMPLES.get(text) or SAMPLES[f"({text})"]


def parse(line: str) -> str:
    """Take the line apart as a shell does, and give it to the command line's parser; the name of its command.

    Raises:
        UsageError: there is no such command, option or argument.
    """
    program, *words = shlex.split(line)
    assert program == "autopay"
    command: Any = get_command(build_app())
    context, name = None, ""
    while isinstance(command, TyperGroup):
        context = command.make_context(name, list(words), parent=context)
        called, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        name = f"{name} {called}".strip()
    command.make_context(name, list(words), parent=context)
    return name


@pytest.mark.parametrize("words", [pytest.param(words, id=f"{' '.join(words)} {at}") for at, words in proposals()])
def test_a_proposed_command_line_can_be_parsed(words: list[str], in_a_home: None) -> None:
    line = command_line(*words)
    assert line.endswith("--home 'a home'")
    assert line.split()[1] in parse(line)


@pytest.mark.parametrize(
    "fault",
    [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.Fault) and each.remedy
    ],
)
def test_the_remedy_of_a_fault_can_be_parsed(fault: type[errors.Fault]) -> None:
    said = str(fault("this"))
    assert parse(said[said.index("autopay ") :])


def test_no_message_writes_a_command_line_by_itself() -> None:
    commands = "|".join(("launch", "request", "session", "ledger", "db", "up", "status", "show"))
    written = re.compile(rf"(starter\.py|autopay) ({commands})\b")
    wrong = []
    for module, path in modules().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                wrong += [f"{module}:{node.lineno}"] if written.search(node.value) else []
    assert wrong == []


def spec(**more: Any) -> RequestSpec:
    return RequestSpec(request_id="report-7", url="http://x.test/a?b=it's&c=$d", **more)


def record(status: RequestStatus, asked: RequestSpec) -> RequestRecord:
    result = RequestResult(request_id="report-7", status=status, workflow_id="pay/trader/report-7")
    return RequestRecord(request_key="k", agent_id=UUID(SESSION), agent="trader", spec=asked, result=result)


@pytest.mark.parametrize("status", list(RequestStatus))
def test_what_to_do_about_a_request_can_be_parsed(status: RequestStatus) -> None:
    asked = spec(method="POST", max_price_atomic=10_000, currency=Currency.CASH)
    said = next_step(record(status, asked))
    line = said[said.index("autopay ") :]
    assert parse(line) in ("request", "retry", "show")
    if line.startswith("autopay request"):
        assert asked.url in shlex.split(line)
        assert "--max-price 0.01" in line


def test_a_request_with_a_sealed_body_has_no_command_that_would_ask_for_something_else() -> None:
    assert "autopay" not in try_again("trader", spec(body_hash="0" * 64, sealed_extras="sealed"))
    assert "autopay" not in order(headers={"Authorization": "Bearer hush"}).ask_again()


def order(**more: Any) -> RequestOrder:
    values: dict[str, Any] = {
        "agent": "trader",
        "request_id": "report-7",
        "url": "http://x.test/a?b=it's",
        "method": "GET",
        "body": None,
        "max_price_atomic": 10_000,
        "currency": Currency.USDC,
        "timeout_s": 1.0,
    }
    return RequestOrder(**values | more)


@pytest.mark.parametrize("max_age_s", [None, 0, 300])
def test_asking_again_for_what_may_not_have_arrived_keeps_every_term(max_age_s: int | None) -> None:
    said = order(max_age_s=max_age_s).ask_again()
    assert parse(said.removeprefix("ask again: ")) == "request"
    assert "--id report-7" in said
    assert ("--fresh" in said, "--max-age 300s" in said) == (max_age_s == 0, max_age_s == 300)


def test_the_home_is_found_however_it_is_written() -> None:
    assert home_among(["up", "--home", "x"]) == home_among(["up", "--home=x"]) == "x"
    assert home_among(["up", "--home"]) is None
    assert home_among(["run", "--home", "x", "--", "other", "--home", "y"]) == "x"
    assert home_among(["run", "--", "other", "--home", "y"]) is None


def test_a_worker_is_started_for_the_same_home(in_a_home: None) -> None:
    assert worker_command_line() == "autopay worker --home 'a home'"
    assert parse(worker_command_line()) == "worker"


@pytest.mark.parametrize(
    ("called", "path", "program"),
    [
        pytest.param("starter.py", "", ".venv/bin/python starter.py", id="the file of the checkout"),
        pytest.param("worker.py", "", ".venv/bin/autopay", id="a worker names the command beside its Python"),
        pytest.param("worker.py", ".venv/bin", "autopay", id="a worker whose environment is active"),
        pytest.param(".venv/bin/autopay", "", ".venv/bin/autopay", id="by its path"),
        pytest.param(".venv/bin/autopay", ".venv/bin", "autopay", id="found on the path"),
        pytest.param(".venv/bin/autopay", "other/bin", ".venv/bin/autopay", id="another one is on the path"),
        pytest.param("/nowhere/bin/autopay", "", "autopay", id="gone since"),
    ],
)
def test_the_program_is_named_as_it_was_called(
    called: str, path: str, program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for place in (".venv/bin", "other/bin"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "autopay").touch(0o755)
    for name in ("starter.py", "worker.py"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / path) if path else "")
    monkeypatch.setattr("sys.argv", [called])
    monkeypatch.setattr("sys.executable", str(tmp_path / ".venv/bin/python"))
    assert own_call().program == program


def test_an_image_without_the_installed_command_names_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "starter.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["worker.py"])
    monkeypatch.setattr("sys.executable", str(tmp_path / "venv/bin/python"))
    assert own_call().program == "venv/bin/python starter.py"
