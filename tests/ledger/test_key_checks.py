"""The ledger knows its keyring by check values: the first that comes is taken, every other one refused by name."""

import asyncio
import io
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload

import worker
from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.vault import Keyring, Vault
from autopay.cli.app import run
from autopay.domain.errors import SettingsError
from autopay.settings import Settings
from autopay.temporal.codec import KeyringOutdated, SealedPayloads, why_marked
from autopay.temporal.connection import connect
from tests.ledger.books import open_book
from tests.workflow.world import PlayedChain, agent_with_session

OURS, FOREIGN = Keyring.generate(), Keyring.generate()


def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database_url: str, keyring: Keyring) -> None:
    """The environment of a command or worker, whose Temporal and chain do not answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTOPAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AUTOPAY_DATABASE_URL", database_url)
    monkeypatch.setenv("AUTOPAY_SOLANA_RPC_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("AUTOPAY_KEYRING", keyring.dump())


async def test_the_first_keyring_is_taken_and_rotated_ones_after_it(ledger: PostgresLedger) -> None:
    rotated = OURS.with_new_key()
    assert await ledger.keys.refuse_or_register(OURS) is None
    assert "another keyring" in (await ledger.keys.refuse_or_register(FOREIGN) or "")
    assert await ledger.keys.refuse_or_register(rotated) is None
    assert await ledger.keys.known() == rotated.check_values()
    assert "older copy" in (await ledger.keys.refuse_or_register(OURS) or "")


def forget(capsys: pytest.CaptureFixture[str], version: int, *more: str) -> tuple[int, str]:
    """What `keyring --forget` ends with, and what it says."""
    capsys.readouterr()
    code = run(["keyring", "--forget", str(version), *more])
    return code, capsys.readouterr().err


def test_a_key_that_was_lost_before_it_was_used_is_forgotten(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(monkeypatch, tmp_path, database_url, OURS.with_new_key())
    assert run(["pause", "trader"]) == 6, "the new key is known, and then lost"
    set_up(monkeypatch, tmp_path, database_url, OURS)
    capsys.readouterr()
    assert run(["pause", "trader"]) == 2
    assert "if key 2 is lost for good" in (said := capsys.readouterr().err)
    assert "keyring --forget 2" in said
    assert forget(capsys, 7, "--yes") == (2, "error: this ledger knows no key of version 7; it knows 0, 1, 2\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, said = forget(capsys, 2)
    assert (code, "what Temporal keeps encrypted with it" in said) == (1, True)
    assert run(["pause", "trader"]) == 2, "nothing is forgotten that nobody confirmed"
    assert forget(capsys, 2, "--yes")[0] == 0
    assert run(["pause", "trader"]) == 6


async def test_a_key_that_anything_is_sealed_with_is_not_forgotten(
    ledger: PostgresLedger,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def never() -> None: ...

    set_up(monkeypatch, tmp_path, database_url, OURS)
    assert await ledger.keys.refuse_or_register(OURS.with_new_key()) is None
    await agent_with_session(ledger, Vault(OURS), PlayedChain(never, None))  # type: ignore[arg-type]
    code, said = await asyncio.to_thread(forget, capsys, 1, "--yes")
    assert (code, "1 session keys encrypted with it" in said) == (2, True)
    await (await open_book(ledger, "payer")).recorded()
    code, said = await asyncio.to_thread(forget, capsys, 0, "--yes")
    assert (code, "memos of 1 payments" in said) == (2, True)
    assert set(await ledger.keys.known()) == {0, 1, 2}


def test_a_first_keyring_that_was_lost_before_anything_was_paid_is_forgotten_whole(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(monkeypatch, tmp_path, database_url, OURS)
    assert run(["pause", "trader"]) == 6
    set_up(monkeypatch, tmp_path, database_url, FOREIGN)
    assert [forget(capsys, version, "--yes")[0] for version in (0, 1)] == [0, 0]
    assert run(["pause", "trader"]) == 6


async def test_of_two_keyrings_that_come_at_once_one_is_taken(ledger: PostgresLedger) -> None:
    answers = await asyncio.gather(*(ledger.keys.refuse_or_register(each) for each in (OURS, FOREIGN) * 3))
    assert {answer is None for answer in answers} == {True, False}
    known = await ledger.keys.known()
    assert known in (OURS.check_values(), FOREIGN.check_values())


async def test_a_ledger_of_before_takes_the_keyring_that_opens_its_sessions(ledger: PostgresLedger) -> None:
    async def never() -> None: ...

    await agent_with_session(ledger, Vault(OURS), PlayedChain(never, None))  # type: ignore[arg-type]
    assert "does not open" in (await ledger.keys.refuse_or_register(FOREIGN) or "")
    assert await ledger.keys.known() == {}
    assert await ledger.keys.refuse_or_register(OURS) is None


async def test_an_outdated_worker_leaves_what_a_newer_key_sealed_to_others(ledger: PostgresLedger) -> None:
    rotated, old = OURS.with_new_key(), SealedPayloads(OURS, ledger.keys.knows)
    sealed = await SealedPayloads(rotated).encode([Payload(metadata={"encoding": b"json/plain"}, data=b"1")])
    assert why_marked((await old.decode(sealed))[0]) is not None, "the ledger knows no such key: it is somebody's own"
    await ledger.keys.refuse_or_register(rotated)
    with pytest.raises(KeyringOutdated, match="version 2"):
        await old.decode(sealed)


def test_commands_and_workers_with_another_keyring_are_refused_before_temporal_is_asked(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(monkeypatch, tmp_path, database_url, OURS)
    assert run(["pause", "trader"]) == 6, "the first registers, and finds no Temporal"
    set_up(monkeypatch, tmp_path, database_url, FOREIGN)
    capsys.readouterr()
    for command in (["pause", "trader"], ["stop", "trader"], ["vault", "rotate"]):
        code, said = run(command), capsys.readouterr().err
        assert (code, "another keyring than this ledger's" in said) == (2, True), (command, said)
        assert FOREIGN.dump().split(":")[1] not in said
    monkeypatch.setattr("sys.argv", ["worker.py"])
    assert worker.main() == 2
    assert "another keyring than this ledger's" in capsys.readouterr().err


async def test_a_ledger_that_does_not_answer_hinders_no_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    set_up(monkeypatch, tmp_path, "postgresql://me@127.0.0.1:1/db", OURS)
    with pytest.raises(Exception, match="TEMPORAL_ADDRESS") as refused:
        await connect(Settings.load())
    assert not isinstance(refused.value, SettingsError)


def test_a_new_keyring_says_that_it_opens_nothing_of_a_ledger_that_has_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(monkeypatch, tmp_path, database_url, OURS)
    assert run(["keyring"]) == 0
    assert "NEW keyring" not in capsys.readouterr().err
    assert run(["pause", "trader"]) == 6
    capsys.readouterr()
    assert run(["keyring"]) == 0
    said = capsys.readouterr()
    assert "NEW keyring: it opens nothing" in said.err
    assert Keyring.parse(said.out).newest == 1
    assert run(["keyring", "--add"]) == 0
    assert "NEW" not in capsys.readouterr().err
