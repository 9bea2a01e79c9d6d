"""`ledger verify` and `ledger anchor` as a person and a program run them."""

import asyncio
import json
from pathlib import Path

import pytest
from solders.keypair import Keypair

from autopay.adapters.postgres import open_ledger
from autopay.cli.app import run
from tests.ledger.books import open_book
from tests.ledger.proofs import Tamperer, busy


@pytest.fixture
def ledger_url(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A ledger with history, as the settings have it."""

    async def fill() -> None:
        ledger = open_ledger(database_url)
        await busy(await open_book(ledger))
        await ledger.dispose()

    asyncio.run(fill())
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", database_url)
    monkeypatch.setenv("AUTOPAY_HOME", str(tmp_path))
    monkeypatch.delenv("AUTOPAY_SOLANA_RPC_URL", raising=False)
    return database_url


def test_a_sound_ledger_ends_with_0_and_says_what_it_cannot_exclude(
    ledger_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ledger", "verify"]) == 0
    out, err = capsys.readouterr()
    assert "all agents: " in out
    assert "the ledger proves itself" in err
    assert "No anchor holds" in err
    assert run(["ledger", "verify", "--agent", "buyer", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["agent"], report["chains"], report["findings"]) == (True, "buyer", 1, [])
    assert report["anchors_on_chain"] is report["payments_on_chain"] is None


def test_a_changed_ledger_ends_with_1_and_names_what_and_where(
    ledger_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hand = Tamperer(ledger_url)
    hand.does("UPDATE audit_events SET payload = payload || ' ' WHERE kind = 'sessions.created'")
    hand.does("UPDATE transactions SET amount = 5 WHERE status = 'VERIFIED'")
    assert run(["ledger", "verify"]) == 1
    out, err = capsys.readouterr()
    assert "5 things do not fit" in err, "an event, a payment, its session's total and two counters"
    assert "hash_differs: agent buyer, event 3, row" in out
    assert "  -> event 3 " in out
    assert "amount is 5.000000, its events say 0.001000" in out
    assert run(["ledger", "verify", "--agent", "other", "--json"]) == 1
    assert [each["agent"] for each in json.loads(capsys.readouterr().out)["findings"]] == ["other"]


def test_mistakes_are_one_line(ledger_url: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["ledger", "verify", "--agent", "nobody"]) == 2
    assert run(["ledger", "verify", "--on-chain"]) == 2
    assert run(["ledger", "anchor"]) == 2
    assert "AUTOPAY_SOLANA_RPC_URL" in capsys.readouterr().err


def test_a_key_file_that_is_none_is_named_and_not_quoted(
    ledger_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1")
    file = tmp_path / "key.json"
    no_key = "holds no key"
    for content, says in ((None, "No such file"), ("secret", no_key), ("[1, 2]", no_key), ("", "is empty")):
        if content is not None:
            file.write_text(content)
        assert run(["ledger", "anchor", "--keypair", str(file)]) == 2
        err = capsys.readouterr().err
        assert says in err
        assert str(file) in err
        assert "secret" not in err


def test_a_chain_that_does_not_answer_is_told_as_such(
    ledger_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1")
    file = tmp_path / "key.json"
    file.write_text(json.dumps(list(bytes(Keypair()))))
    assert run(["ledger", "anchor", "--keypair", str(file)]) == 6
    assert "does not answer" in capsys.readouterr().err
