"""`autopay doctor` as a command: what it prints, and how it ends."""

import json
import re
from pathlib import Path

import pytest

from autopay.adapters.vault import Keyring
from autopay.cli.app import run
from autopay.cli.doctor.checks import CHECKS
from autopay.cli.doctor.node_checks import METHODS

SOLANA = Path(__file__).parents[2] / "autopay/adapters/solana"


@pytest.mark.usefixtures("no_settings")
def test_without_any_setting_it_says_what_to_set_and_alarms_of_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 2
    said = capsys.readouterr()
    assert "AUTOPAY_DATABASE_URL" in said.out
    assert "autopay up --worker" in " ".join(said.out.split())
    assert said.out.count("FAILED") == 1
    assert f"{len(CHECKS)} checks: 1 failed" in said.err


@pytest.mark.usefixtures("no_settings")
def test_a_wrong_setting_is_a_failed_check_in_json_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPAY_DATABSE_URL", "postgresql://me:pass-word@db/ledger")
    assert run(["doctor", "--json"]) == 2
    said = capsys.readouterr().out
    report = json.loads(said)
    assert [each["name"] for each in report["checks"]] == [each.name for each in CHECKS]
    assert (report["ok"], report["checks"][0]["state"]) == (False, "failed")
    assert "pass-word" not in said


@pytest.mark.usefixtures("no_settings")
def test_what_does_not_answer_ends_it_with_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring.generate().dump()
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", "postgresql://me:pass-word@127.0.0.1:1/ledger")
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1/v2/secret-api-key")
    monkeypatch.setenv("AUTOPAY_KEYRING", keyring)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    assert run(["doctor"]) == 1
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines() if line.startswith("FAILED")] == [
        "database",
        "node",
        "temporal",
    ]
    assert not any(secret in said for secret in ("pass-word", "secret-api-key", keyring.split(":")[1][:43]))


def test_every_method_that_an_adapter_asks_for_is_checked() -> None:
    """But for `getGenesisHash`, which the check `node` asks, and `getBlockTime`, which only the doctor does."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in SOLANA.rglob("*.py"))
    asked = set(re.findall(r'"((?:get|send|simulate)[A-Z]\w+)"', sources))
    assert asked - {"getGenesisHash", "getBlockTime"} == set(METHODS)
