"""`policy`, `approvals`, `approve` and `deny` without any service: help, and mistakes."""

from pathlib import Path

import pytest

from autopay.cli.app import run
from autopay.cli.policy.show import changes, lines_of
from autopay.cli.terminal.exit_codes import ExitCode
from autopay.domain.policy.file import EXAMPLE, FIELDS, read_policy
from autopay.domain.policy.policy import Policy
from autopay.domain.text.durations import format_duration

pytestmark = pytest.mark.usefixtures("no_settings")


def test_the_example_is_a_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["policy", "example"]) == 0
    text = capsys.readouterr().out
    assert text == EXAMPLE
    assert read_policy(text) != Policy()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'[limits]\nper_requst = "1"\n', "policy.toml, line 2: 'per_requst' is unknown here"),
        (b"[limits\n", "policy.toml, line 1: not TOML"),
        (b"[limits]\n# \xff\n", "policy.toml, line 2: not TOML: not UTF-8"),
        (None, "policy.toml: No such file"),
    ],
)
def test_a_wrong_policy_is_one_line_with_its_line_number(
    content: bytes | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        Path("policy.toml").write_bytes(content)
    assert run(["policy", "set", "policy.toml"]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert says in captured.err
    assert (captured.err.count("\n"), captured.out) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["policy", "accept", "api.example.com", "x"], "not an http(s) URL"),
        (["policy", "accept", "https://a.dev", "0x12"], "not a Solana address"),
        (["policy", "show"], "AUTOPAY_DATABASE_URL is not set"),
        (["policy", "show", "a/b"], "not an agent's name"),
        (["approvals"], "AUTOPAY_DATABASE_URL is not set"),
        (["approve"], "Missing argument"),
        (["approve", "0193", "--wait", "--timeout", "soon"], "not a duration"),
        (["deny", "0193"], "AUTOPAY_DATABASE_URL is not set"),
    ],
)
def test_a_mistake_says_what_is_wrong(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if says.startswith("not an agent"):
        monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert run(arguments) == ExitCode.USAGE
    assert says in capsys.readouterr().err


def test_a_policy_reads_by_the_names_of_its_file() -> None:
    names = [f"{section}.{key}" for section, keys in FIELDS.items() for key in keys]
    assert list(lines_of(Policy())) == names
    lines = lines_of(read_policy(EXAMPLE))
    assert (lines["limits.per_request"], lines["pins.price_factor"]) == ("0.05 USD", "3")
    assert (lines["allow.hosts"], lines["approvals.expire"]) == ("api.example.com, *.trusted.dev", "24h")


def test_what_changed_is_told_and_nothing_else() -> None:
    assert changes(Policy(), Policy()) == []
    assert changes(Policy(), Policy(per_request_atomic=0, price_factor=None)) == [
        ("limits.per_request", "no limit", "0 USD"),
        ("pins.price_factor", "3", "no limit"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(60, "1m"), (90, "90s"), (3_600, "1h"), (86_400, "24h"), (172_800, "2d"), (5_400, "90m")]
)
def test_a_time_reads_as_a_policy_file_writes_it(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text
    assert read_policy(f'[approvals]\nexpire = "{text}"').approval_expires_s == seconds
