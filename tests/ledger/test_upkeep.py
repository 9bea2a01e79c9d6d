"""The upkeep's duties on a real ledger, as the role that they have; and what that role may not."""

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from solders.keypair import Keypair

from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.maintenance.roles import UPKEEP, Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import Server
from autopay.adapters.solana.anchoring import signed_anchor
from autopay.cli.upkeep.duties import duties, wanted_duties
from autopay.domain.audit.anchor import AnchorState, format_heads
from autopay.domain.errors import SettingsError
from autopay.domain.network import Network
from autopay.domain.payment.chain import Blockhash
from autopay.domain.upkeep import Duty, UpkeepOrder
from autopay.domain.webhooks.events import name_for
from autopay.settings import Settings
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import Book
from tests.ledger.proofs import busy, findings, rows
from tests.ledger.test_migrations import execute
from tests.ledger.test_roles import REFUSED


@pytest.fixture
def upkeep_url(database_url: str, postgres: EmbeddedPostgres) -> str:
    """A ledger as the upkeep has it."""
    server = Server(database_url)
    make_roles(server, {})
    assert apply_rights(server)
    return postgres.url(server.name, Role.UPKEEP)


def settings_of(url: str) -> Settings:
    return Settings(database_url=url)


async def test_it_verifies_and_finds_what_somebody_changed(book: Book, database_url: str, upkeep_url: str) -> None:
    await busy(book)
    verify = duties(settings_of(upkeep_url))[Duty.VERIFY]
    well = await verify(UpkeepOrder(duty=Duty.VERIFY))
    assert (well.ok, well.summary) == (True, "the ledger proves itself")
    execute(database_url, "ALTER TABLE transactions DISABLE TRIGGER append_only")
    wrong = await verify(UpkeepOrder(duty=Duty.VERIFY))
    assert not wrong.ok
    assert wrong.summary.startswith("1 things do not fit, the first: trigger_missing, ")


async def test_it_prunes_old_content_and_that_is_an_event(book: Book, database_url: str, upkeep_url: str) -> None:
    await busy(book)
    content = "SELECT count(*) FROM api_request_logs WHERE body IS NOT NULL"
    (before,) = rows(database_url, content)[0]
    prune = duties(settings_of(upkeep_url))[Duty.PRUNE]
    kept = await prune(UpkeepOrder(duty=Duty.PRUNE, keep_content_s=3600))
    assert kept.figures["requests"] == 0
    assert rows(database_url, content) == [(before,)]
    execute(database_url, "ALTER TABLE api_request_logs DISABLE TRIGGER USER")  # time goes by
    execute(database_url, "UPDATE api_request_logs SET closed_at = closed_at - interval '2 days'")
    execute(database_url, "UPDATE api_request_logs SET answered_at = answered_at - interval '2 days'")
    execute(database_url, "ALTER TABLE api_request_logs ENABLE TRIGGER USER")
    done = await prune(UpkeepOrder(duty=Duty.PRUNE, keep_content_s=3600))
    assert done.figures["requests"] == before > 0
    assert rows(database_url, content) == [(0,)]
    with pytest.raises(SettingsError):
        await prune(UpkeepOrder(duty=Duty.PRUNE))


async def test_it_records_anchors_and_results_and_nothing_that_rewrites_history(
    book: Book, database_url: str, upkeep_url: str
) -> None:
    await busy(book)
    ledger = open_ledger(upkeep_url)
    heads = format_heads(await ledger.audit.heads())
    recent = Blockhash(blockhash=str(Keypair().pubkey()), last_valid_block_height=10, slot=1)
    anchor = signed_anchor(heads, Keypair(), recent, Network.DEVNET)
    assert await ledger.audit.record_anchor(anchor)
    await ledger.audit.close_anchor(anchor.id, AnchorState.FINALIZED, 7)
    who = {"actor": "schedule", "via": "schedule", "details": {"found": 1}}
    await ledger.operator_actions.record("verify", **who, outcome="failed", error="1 thing")  # type: ignore[arg-type]
    (told,) = await ledger.operator_actions.newest()
    assert (told.action, told.outcome, told.error) == ("verify", "failed", "1 thing")
    await ledger.dispose()
    assert await findings(database_url) == []
    more = (
        "UPDATE api_request_logs SET body_sha256 = NULL",
        "UPDATE audit_anchors SET heads = ''",
        "INSERT INTO transactions SELECT * FROM transactions",
        "UPDATE transactions SET status = 'VERIFIED'",
        "UPDATE sessions SET session_token = ''",
    )
    with psycopg.connect(upkeep_url, autocommit=True) as db:
        for statement in (*REFUSED, *more):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement)


def test_every_column_that_it_changes_is_there(upkeep_url: str, database_url: str) -> None:
    there = {
        (table, column)
        for table, column in rows(database_url, "SELECT table_name, column_name FROM information_schema.columns")
    }
    named = {(table, column) for table, may in UPKEEP.items() for column in f"{may.insert} {may.update}".split()}
    assert {each for each in named if each[1] != "*"} <= there


def test_a_server_of_before_keeps_its_rights_without_the_role(database_url: str, upkeep_url: str) -> None:
    execute(database_url, "DROP OWNED BY autopay_upkeep")
    with psycopg.connect(database_url, autocommit=True) as db, db.transaction(force_rollback=True):
        db.execute("ALTER ROLE autopay_upkeep RENAME TO another_upkeep")
    assert apply_rights(Server(database_url))


@pytest.mark.usefixtures("no_settings")
def test_what_is_set_is_done_and_what_it_needs_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted_duties(Settings.load()) == {}
    monkeypatch.setenv("AUTOPAY_RECONCILE_EVERY", "1d")
    monkeypatch.setenv("AUTOPAY_VERIFY_EVERY", "")
    monkeypatch.setenv("AUTOPAY_PRUNE_EVERY", "12h")
    with pytest.raises(SettingsError, match=r"^AUTOPAY_KEEP_CONTENT is not set"):
        wanted_duties(Settings.load())
    monkeypatch.setenv("AUTOPAY_KEEP_CONTENT", "90d")
    found = wanted_duties(Settings.load())
    day = int(timedelta(days=1).total_seconds())
    assert found == {Duty.RECONCILE: day, Duty.PRUNE: day // 2}
    monkeypatch.setenv("AUTOPAY_ANCHOR_EVERY", "1h")
    with pytest.raises(SettingsError, match=r"^AUTOPAY_ANCHOR_KEYPAIR is not set"):
        wanted_duties(Settings.load())
    monkeypatch.setenv("AUTOPAY_ANCHOR_KEYPAIR", str(tmp_path / "none"))
    with pytest.raises(SettingsError, match="AUTOPAY_ANCHOR_KEYPAIR"):
        wanted_duties(Settings.load())


@pytest.mark.usefixtures("no_settings")
@pytest.mark.parametrize(("value", "says"), [("often", "is not a duration"), ("1s", "greater than"), ("1.5s", "whole")])
def test_a_time_that_cannot_be_is_refused(value: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPAY_VERIFY_EVERY", value)
    with pytest.raises(SettingsError, match=f"AUTOPAY_VERIFY_EVERY.*{says}"):
        Settings.load()


@pytest.mark.parametrize(("outcome", "name"), [("done", "upkeep.done"), ("failed", "upkeep.failed")])
def test_results_are_sent_to_webhooks_by_their_name(outcome: str, name: str) -> None:
    changed = "operator_actions.changed"
    assert name_for(["upkeep.*"], changed, {"outcome": outcome}, Duty.VERIFY) == name
    assert name_for(["*"], changed, {"outcome": outcome}, Duty.PRUNE) == name
    assert name_for(["upkeep.*"], "operator_actions.created", {}, Duty.VERIFY) is None
    assert name_for(["upkeep.*"], changed, {"outcome": outcome}, "pause") is None
