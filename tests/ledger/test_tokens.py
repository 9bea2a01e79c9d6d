"""Tokens of the API, logins of the page, and who ordered what: in the ledger, and in its proof."""

import hmac
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest

from autopay.adapters.postgres import PostgresLedger, open_ledger
from autopay.adapters.postgres.access.tokens import TokenExists
from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import Server
from autopay.api.access.actor import LOCAL, Actor, Scope, Via
from autopay.api.access.orders import ordered
from autopay.client.errors import AgentNotAnswering, NotDecided
from autopay.domain.access.records import ActionRecord
from autopay.domain.access.secret_text import Kind, SecretText
from autopay.domain.audit.events import MismatchReason
from autopay.domain.errors import UnknownAgent
from autopay.uuid7 import uuid7
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import Book
from tests.ledger.proofs import Tamperer, findings, payloads, reasons, rows
from tests.ledger.test_migrations import execute

DAY_S = 86_400


async def test_a_token_is_found_by_its_text_until_it_is_revoked(ledger: PostgresLedger, database_url: str) -> None:
    made, text = await ledger.tokens.make("dashboard", ["read"], DAY_S)
    found = await ledger.tokens.find(text)
    assert found is not None
    assert (found.token_id, found.name, found.scopes) == (made.token_id, "dashboard", ("read",))
    revoked = await ledger.tokens.revoke("dashboard")
    assert revoked is not None
    assert revoked.state_at(datetime.now(UTC)) == "revoked"
    assert await ledger.tokens.find(text) is None
    assert await ledger.tokens.revoke("dashboard") is None
    assert await findings(database_url) == []


async def test_the_ledger_keeps_no_token_and_no_event_tells_its_hash(ledger: PostgresLedger, database_url: str) -> None:
    _, text = await ledger.tokens.make("dashboard", ["act", "read"], None)
    token = SecretText.parse(Kind.TOKEN, text)
    assert token is not None
    (stored,) = rows(database_url, "SELECT row_to_json(api_tokens)::text FROM api_tokens")
    assert token.secret.hex() not in stored[0]
    assert token.hash.hex() in stored[0]
    told = [each for each in payloads(database_url) if each["kind"] == "api_tokens.created"]
    assert [set(each["values"]) for each in told] == [
        {"id", "name", "scopes", "created_at", "expires_at", "revoked_at"}
    ]
    assert token.hash.hex() not in str(told)


async def test_a_name_is_one_tokens_until_it_is_revoked(ledger: PostgresLedger) -> None:
    _, first = await ledger.tokens.make("ci", ["read"], None)
    with pytest.raises(TokenExists, match="ci"):
        await ledger.tokens.make("ci", ["act"], None)
    await ledger.tokens.revoke("ci")
    _, second = await ledger.tokens.make("ci", ["act"], None)
    assert await ledger.tokens.find(first) is None
    assert await ledger.tokens.find(second) is not None


async def test_an_expired_token_and_its_logins_open_nothing(ledger: PostgresLedger) -> None:
    made, text = await ledger.tokens.make("short", ["read"], 1)
    login = await ledger.tokens.log_in(made.token_id, DAY_S)
    assert login is not None
    record, cookie = login
    assert record.expires_at == made.expires_at, "no login outlives its token"
    await _until_expired(ledger, text)
    assert await ledger.tokens.find_login(cookie) is None
    assert await ledger.tokens.log_in(made.token_id, DAY_S) is None


async def _until_expired(ledger: PostgresLedger, text: str) -> None:
    until = datetime.now(UTC) + timedelta(seconds=5)
    while await ledger.tokens.find(text) is not None:
        assert datetime.now(UTC) < until, "it was to expire"


async def test_a_login_ends_by_logout_by_its_time_and_with_its_token(ledger: PostgresLedger, database_url: str) -> None:
    made, _ = await ledger.tokens.make("page", ["read", "act"], None)
    out, timed, revoked = [await ledger.tokens.log_in(made.token_id, DAY_S) for _ in range(3)]
    assert out is not None
    assert timed is not None
    assert revoked is not None
    assert (await ledger.tokens.find_login(out[1])) == out[0]
    await ledger.tokens.log_out(out[0].login_id)
    assert await ledger.tokens.find_login(out[1]) is None
    Tamperer(database_url).does(
        "UPDATE page_logins SET expires_at = clock_timestamp() - interval '1 s' WHERE id = %s", timed[0].login_id
    )
    assert await ledger.tokens.find_login(timed[1]) is None
    assert await ledger.tokens.find_login(revoked[1]) is not None
    await ledger.tokens.revoke("page")
    assert await ledger.tokens.find_login(revoked[1]) is None


async def test_a_token_is_no_cookie_and_a_cookie_no_token(ledger: PostgresLedger) -> None:
    made, text = await ledger.tokens.make("page", ["read"], None)
    login = await ledger.tokens.log_in(made.token_id, DAY_S)
    assert login is not None
    assert await ledger.tokens.find(login[1]) is None
    assert await ledger.tokens.find_login(text) is None
    cookie = SecretText.parse(Kind.LOGIN, login[1])
    assert cookie is not None
    swapped = cookie._replace(kind=Kind.TOKEN, row_id=made.token_id)
    assert await ledger.tokens.find(swapped.dump()) is None


async def test_the_last_use_is_noted_to_the_hour(ledger: PostgresLedger, database_url: str) -> None:
    _, text = await ledger.tokens.make("page", ["read"], None)
    for _ in range(3):
        await ledger.tokens.find(text)
    (record,) = await ledger.tokens.list()
    now = datetime.now(UTC)
    assert record.last_used_at is not None
    assert record.last_used_at.minute == record.last_used_at.second == 0
    assert now - timedelta(hours=1, minutes=1) < record.last_used_at <= now
    events = [each["kind"] for each in payloads(database_url)]
    assert events == ["api_tokens.created"], "a use is no event"


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE api_tokens SET scopes = '[\"act\"]'", id="more scopes"),
        pytest.param("UPDATE api_tokens SET secret_hash = 'x'", id="another secret"),
        pytest.param("UPDATE api_tokens SET expires_at = NULL", id="a longer life"),
        pytest.param("UPDATE api_tokens SET name = 'admin'", id="another name"),
        pytest.param("UPDATE api_tokens SET revoked_at = NULL", id="a second life"),
        pytest.param("DELETE FROM operator_actions; DELETE FROM api_tokens", id="a token is deleted"),
        pytest.param("TRUNCATE operator_actions", id="what was ordered is truncated"),
        pytest.param("DELETE FROM operator_actions", id="what was ordered is deleted"),
        pytest.param("UPDATE operator_actions SET actor = 'somebody else'", id="another actor"),
        pytest.param("UPDATE operator_actions SET outcome = 'refused'", id="another outcome"),
        pytest.param("UPDATE page_logins SET expires_at = now() + interval '9 years'", id="a longer login"),
        pytest.param("UPDATE page_logins SET ended_at = NULL", id="a login begins anew"),
    ],
)
async def test_even_the_tables_owner_cannot_rewrite_who_did_what(
    book: Book, database_url: str, statement: LiteralString
) -> None:
    ledger = book.ledger
    made, _ = await ledger.tokens.make("page", ["read"], DAY_S)
    login = await ledger.tokens.log_in(made.token_id, DAY_S)
    assert login is not None
    await ledger.tokens.log_out(login[0].login_id)
    await ledger.tokens.revoke("page")
    actor = Actor("page", frozenset({Scope.ACT}), Via.PAGE, made.token_id)
    async with ordered(ledger, actor, "pause", agent=book.agent):
        pass
    with pytest.raises(psycopg.Error) as refused:
        execute(database_url, statement)
    assert refused.value.sqlstate == "AP001"
    assert await findings(database_url) == []


async def test_what_is_ordered_is_in_the_agents_chain_with_its_actor_and_its_outcome(
    book: Book, database_url: str
) -> None:
    made, _ = await book.ledger.tokens.make("ops", ["act"], None)
    actor = Actor("ops", frozenset({Scope.ACT}), Via.TOKEN, made.token_id)
    async with ordered(book.ledger, actor, "pause", agent=book.agent, details={"reason": "night\0"}):
        pass
    with pytest.raises(NotDecided):
        async with ordered(book.ledger, LOCAL, "approve", agent=book.agent, target="01a2"):
            raise NotDecided("too late")
    with pytest.raises(AgentNotAnswering):
        async with ordered(book.ledger, LOCAL, "resume", agent=book.agent):
            raise AgentNotAnswering("no worker")
    with pytest.raises(ZeroDivisionError):
        async with ordered(book.ledger, LOCAL, "stop", agent=book.agent):
            raise ZeroDivisionError("with what is nobody's business")
    found = [(each.actor, each.via, each.action, each.outcome, each.error) for each in await _actions(book)]
    assert found == [
        ("local", "local", "stop", "failed", "ZeroDivisionError"),
        ("local", "local", "resume", "failed", "no worker"),
        ("local", "local", "approve", "refused", "too late"),
        ("ops", "token", "pause", "done", None),
    ]
    agent_id = str((await book.ledger.agents.get(book.agent)).agent_id)
    told = [each for each in payloads(database_url) if each["kind"].startswith("operator_actions.")]
    assert {each["agent"] for each in told} == {agent_id}
    assert [each["values"].get("actor") for each in told if each["kind"].endswith("created")] == [
        "ops",
        "local",
        "local",
        "local",
    ]
    assert [each["values"]["outcome"] for each in told if each["kind"].endswith("changed")] == [
        "done",
        "refused",
        "failed",
        "failed",
    ]
    assert await findings(database_url) == []


async def _actions(book: Book) -> Sequence[ActionRecord]:
    return await book.ledger.operator_actions.newest(agent=book.agent)


async def test_an_interrupted_order_stays_without_an_outcome(book: Book) -> None:
    action_id = await book.ledger.operator_actions.begin("stop", actor="ops", via="token", agent=book.agent)
    (record,) = await book.ledger.operator_actions.newest()
    assert (record.action_id, record.outcome, record.agent) == (action_id, None, book.agent)
    await book.ledger.operator_actions.end(action_id, "done")
    await book.ledger.operator_actions.end(action_id, "failed", "later")
    (record,) = await book.ledger.operator_actions.newest()
    assert record.outcome == "done"


async def test_nothing_is_done_that_cannot_be_recorded(ledger: PostgresLedger) -> None:
    done = False
    with pytest.raises(UnknownAgent):
        async with ordered(ledger, LOCAL, "pause", agent="nobody"):
            done = True
    assert not done


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        pytest.param(
            "UPDATE operator_actions SET actor = 'me'", MismatchReason.ROW_DIFFERS, id="an actor is exchanged"
        ),
        pytest.param("DELETE FROM operator_actions", MismatchReason.ROW_MISSING, id="an order is deleted"),
        pytest.param(
            'UPDATE api_tokens SET scopes = \'["read", "act"]\'', MismatchReason.ROW_DIFFERS, id="scopes are widened"
        ),
        pytest.param("UPDATE api_tokens SET revoked_at = NULL", MismatchReason.ROW_DIFFERS, id="a token is revived"),
        pytest.param(
            "INSERT INTO api_tokens (id, name, scopes, secret_hash) VALUES (gen_random_uuid(), 'x', '[]', 'x')",
            MismatchReason.ROW_WITHOUT_EVENTS,
            id="a token is slipped in",
        ),
    ],
)
async def test_ledger_verify_finds_what_was_done_past_the_triggers(
    book: Book, database_url: str, statement: LiteralString, reason: MismatchReason
) -> None:
    await book.ledger.tokens.make("ops", ["read"], None)
    await book.ledger.tokens.revoke("ops")
    async with ordered(book.ledger, LOCAL, "pause", agent=book.agent):
        pass
    Tamperer(database_url).does(statement)
    assert await reasons(database_url) == {reason}


@pytest.fixture
async def worker(postgres: EmbeddedPostgres, database_url: str) -> AsyncIterator[PostgresLedger]:
    """The ledger as the API has it: as the role that works there."""
    server = Server(database_url)
    make_roles(server, {})
    assert apply_rights(server)
    ledger = open_ledger(postgres.url(server.name, Role.WORK))
    yield ledger
    await ledger.dispose()


async def test_the_working_role_lets_in_and_records_and_makes_no_token(
    book: Book, worker: PostgresLedger, postgres: EmbeddedPostgres, database_url: str
) -> None:
    made, text = await book.ledger.tokens.make("page", ["read", "act"], DAY_S)
    assert await worker.tokens.find(text) is not None
    login = await worker.tokens.log_in(made.token_id, DAY_S)
    assert login is not None
    assert await worker.tokens.find_login(login[1]) is not None
    await worker.tokens.log_out(login[0].login_id)
    async with ordered(worker, LOCAL, "pause", agent=book.agent):
        pass
    name = Server(database_url).name
    for role, statement in (
        (Role.WORK, "INSERT INTO api_tokens SELECT * FROM api_tokens"),
        (Role.WORK, "UPDATE api_tokens SET revoked_at = NULL"),
        (Role.WORK, "UPDATE operator_actions SET actor = 'x'"),
        (Role.WORK, "DELETE FROM page_logins"),
        (Role.READ, "SELECT secret_hash FROM api_tokens"),
        (Role.READ, "SELECT secret_hash FROM page_logins"),
    ):
        with psycopg.connect(postgres.url(name, role)) as db, pytest.raises(psycopg.errors.InsufficientPrivilege):
            db.execute(statement)
    with psycopg.connect(postgres.url(name, Role.READ)) as db:
        assert db.execute("SELECT name, scopes FROM api_tokens").fetchall() == [("page", ["act", "read"])]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("autopay_tok_", id="a prefix"),
        pytest.param("autopay_tok_" + "z" * 71, id="numbers that are too large"),
        pytest.param("autopay_tok_" + "0" * 71, id="a wrong checksum"),
        pytest.param("autopay_tok_" + "0" * 65 + "\u0661" * 6, id="digits of another alphabet"),
        pytest.param("x" * 100_000, id="far too long"),
    ],
)
def test_what_is_no_token_is_not_looked_up(text: str) -> None:
    assert SecretText.parse(Kind.TOKEN, text) is None


def test_a_token_is_recognised_by_scanners_of_secrets_and_by_its_checksum() -> None:
    token = SecretText.new(Kind.TOKEN, uuid7())
    text = token.dump()
    assert re.fullmatch(r"autopay_tok_[0-9A-Za-z]{71}", text)
    assert SecretText.parse(Kind.TOKEN, text) == token
    assert SecretText.parse(Kind.LOGIN, text) is None
    for place in range(len("autopay_tok_"), len(text)):
        changed = text[:place] + ("1" if text[place] != "1" else "2") + text[place + 1 :]
        assert SecretText.parse(Kind.TOKEN, changed) is None


def test_secrets_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    token = SecretText.new(Kind.TOKEN, uuid7())
    assert token.has_hash(token.hash)
    assert not token.has_hash(bytes(32))
    assert compared == [(token.hash, token.hash), (token.hash, bytes(32))]
