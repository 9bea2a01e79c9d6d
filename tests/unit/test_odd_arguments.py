"""Every argument and option of every command, given what makes no sense: exit code 2 or a named error, no traceback."""

import errno
import os
import random
import re
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from autopay.adapters.vault import Keyring
from autopay.cli.app import build_app, run
from autopay.domain.errors import LedgerUnavailable
from localnet.stack import Stack

SECRET = "hunter2-not-printed"

NUMBERS = ["-1", "0", "9" * 30, "1e999999", "-1e999", "1e-999999", "nan", "-inf", "٣", "1_0", "0." + "0" * 40 + "1"]
DURATIONS = ["400d", "99999999d", "999999999999d", "0s", "1e9h"]
TEXTS = ["", " ", "é", "\x1b[2J", "\udcff", "a" * 100_000, "[bold]", "'; DROP", "x=\ny", "\u202e", "{", "../..", "*"]
TIMES = ["2026-13-45", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "99999-01-01"]
URLS = [
    "http://[::1",
    "http://x:99999/",
    "http://x:y/",
    "http://u:p@x/",
    "http://é.example/",
    "//",
    "postgresql://u:p@h:xx/d",
    "http://127.0.0.1:1/x every=400000d",
]
HEADERS = ["X-City: Zürich", "Content-Length: 5", ": x", "X-A: " + "b" * 100_000]
FILES = ["folder", "huge", "binary", "utf16", "absent", "number", "nested", "locked/absent"]
VALUES = [*NUMBERS, *DURATIONS, *TEXTS, *TIMES, *URLS, *HEADERS, *FILES, *(f"@{file}" for file in FILES)]

SEED = os.environ.get("AUTOPAY_TEST_SEED") or str(secrets.randbits(32))
VALUES_A_RUN = 3
"""Of those above, drawn anew for each command and run: all of them take minutes."""

PROPER = {
    "url": "http://127.0.0.1:1/x",
    "what": "http://127.0.0.1:1/x every=30s",
    "to": "full",
    "amount": "1",
    "which": "abc",
    "request": "abc",
    "session_id": "00000000-0000-0000-0000-000000000001",
    "target": "absent",
    "file": "absent",
    "payee": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
    "origin": "https://a.example",
    "older_than": "30d",
    "revision": "base",
    "command": "true",
}
"""What the arguments that a command cannot do without are, while another one is odd."""

ENDLESS = frozenset({"ledger follow", "worker"})
"""They wait for a database that is away, as they should."""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command of the command line, with its words."""

    def below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, each in getattr(command, "commands", {}).items():
            yield from below(each, (*words, name))
        if not hasattr(command, "commands"):
            yield " ".join(words), command

    yield from below(typer.main.get_command(build_app()), ())


COMMANDS = dict(commands())


def names_a_file(parameter: Any) -> bool:
    """Whether the value of this argument or option is a path; `--home` is the same for every command."""
    return parameter.type_descriptor.annotation is Path and parameter.name != "home"


def lines_with(command: str, value: str, which: Callable[[Any], bool] = lambda parameter: True) -> Iterator[list[str]]:
    """The command lines in which one argument or option after the other has this value, of those that `which` takes."""
    parameters = [each for each in COMMANDS[command].params if each.name != "help"]
    for odd in filter(which, parameters):
        if getattr(odd, "is_flag", False) or (odd.name == "home" and command != "status"):  # the same everywhere
            continue
        given = [odd.opts[0], value] if odd.param_type_name == "option" else []
        for each in parameters:
            if each.param_type_name == "argument":
                if each is odd:
                    given += ["--", value] if value.startswith("-") else [value]
                elif each.required:
                    given.append(PROPER.get(each.name, "trader"))
            elif each.required and each is not odd:
                given += [each.opts[0], PROPER[each.name]]
        yield [*command.split(), *given]


@pytest.fixture(autouse=True)
def _nothing_runs(no_settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, content in {
        "binary": bytes(range(256)) * 10,
        "utf16": '{"a": 1}'.encode("utf-16"),
        "number": b"99999999999",
        "nested": b"[" * 200_000,
    }.items():
        (tmp_path / name).write_bytes(content)
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**26)
    (tmp_path / "folder").mkdir()

    async def not_here(_: Stack) -> None:
        raise LedgerUnavailable("nothing is started here")

    def taken(*_: Any, **__: Any) -> None:
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(Stack, "start", not_here)
    monkeypatch.setattr(socket, "create_server", taken)  # a server whose arguments make sense would serve for ever


@pytest.fixture(params=["unset", "away"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the commands run: without a setting, or with settings of servers that are away."""
    where: str = request.param
    if where == "away":
        monkeypatch.setenv("AUTOPAY_DATABASE_URL", f"postgresql://u:{SECRET}@127.0.0.1:1/d")
        monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", f"http://127.0.0.1:1/{SECRET}")
        monkeypatch.setenv("AUTOPAY_KEYRING", Keyring.generate().dump())
        monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    return where


def ends_well(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """What is wrong with how the command ended; None when nothing is."""
    try:
        code = run(arguments)
    except BaseException as error:
        capsys.readouterr()
        return f"{type(error).__name__}: {str(error)[:200]}"
    said = capsys.readouterr()
    proper = (0, 1, 2, 3, 6, 127) if arguments[0] == "run" else (0, 1, 2, 3, 6)  # 127: there is no such command
    if code not in proper or (code and not said.err.strip()):
        return f"exit code {code}, {said.err[:200]!r}"
    if "Traceback" in said.err or SECRET in said.err + said.out:
        return f"says {said.err[:300]!r}"
    errors = [line for line in said.err.splitlines() if re.match(r"(?i)error: ", line)]
    return None if not code or len(errors) == 1 else f"{len(errors)} errors: {said.err[:300]!r}"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_makes_no_sense_is_named(command: str, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    if command in ENDLESS and place == "away":
        return
    draw = random.Random(SEED + command)  # noqa: S311
    wrong = {}
    for value in draw.sample(VALUES, VALUES_A_RUN):
        for arguments in lines_with(command, value):
            found = ends_well(arguments, capsys)
            if found is not None:
                wrong[" ".join(arguments)[:150]] = found
    assert not wrong, f"seed {SEED}\n" + "\n".join(f"{line!a} -> {each}" for line, each in wrong.items())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["request", "http://[::1"], "'url': Invalid IPv6 URL"),
        (["request", "http://x/", "--max-price", "1e999999"], "'--max-price'"),
        (["request", "http://x/", "--max-age", "400d"], "'--max-age'"),
        (["request", "http://x/", "--max-age", "99999999d"], "'--max-age'"),
        (["request", "http://x/", "--json-body", "@utf16"], "'--json-body'"),
        (["request", "http://x/", "--json-body", "@nested"], "'--json-body'"),
        (["request", "http://x/", "--json-body", "@huge"], "'--json-body': huge: larger than"),
        (["request", "http://x/", "--json-body", "@folder"], "'--json-body': folder: Is a directory"),
        (["request", "http://x/", "--json-body", "@/dev/zero"], "'--json-body'"),
        (["request", "http://x/", "--header", "X-A: b\nc"], "'--header'"),
        (["ledger", "prune", "--older-than", "99999999d"], "'--older-than'"),
        (["ledger", "show", "--since", "9999999d"], "'--since'"),
        (["launch", "a", "--allowance", "nan"], "'--allowance'"),
        (["policy", "set", "huge"], "huge: larger than"),
    ],
)
def test_the_option_is_named(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()[-1]) < 300


@pytest.mark.parametrize("file", ["number", "binary", "huge", "nested", "folder", "absent", "/dev/zero"])
def test_a_key_file_that_holds_no_key_is_named(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://127.0.0.1:1/d")
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AUTOPAY_ANCHOR_KEYPAIR", file)
    assert run(["ledger", "anchor"]) == 2
    assert f"AUTOPAY_ANCHOR_KEYPAIR: {file} " in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", sorted(name for name, each in COMMANDS.items() if any(map(names_a_file, each.params)))
)
@pytest.mark.parametrize("name", ["a" * 300, "number/below-a-file"], ids=["too-long", "below-a-file"])
def test_a_file_that_cannot_be_there_is_named(
    command: str, name: str, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {" ".join(line)[:100]: ends_well(line, capsys) for line in lines_with(command, name, names_a_file)}
    assert not {line: why for line, why in wrong.items() if why is not None}
