"""Each deliberate misconfiguration is found by its check, which says what is wrong and what to do."""

import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from pathlib import Path

import psycopg
import pytest
from temporalio.client import Client

from autopay.adapters.postgres.maintenance import migrations
from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import Server
from autopay.cli.doctor.checks import CHECKS, diagnose
from autopay.cli.doctor.results import CheckResult, State
from autopay.domain.audit.anchor import Anchor, AnchorState
from autopay.domain.network import Network
from autopay.domain.payment.adoption import ADOPT_ID
from autopay.domain.policy.policy import Policy
from autopay.domain.session import OwnerTransaction
from autopay.processes import own_start_time
from autopay.settings.stack_file import StackFile
from autopay.temporal.converter import data_converter
from autopay.temporal.schedules import schedule_adoption
from autopay.uuid7 import uuid7
from localnet.chain.genesis import CASH_MINT
from tests.doctor.scene import (
    ACCOUNT,
    ALLOWANCE,
    KEYRING,
    OWNER,
    Scene,
    mint,
    refusal,
    token_account,
)
from tests.field.odd_node import http

OF_NODE_CHECK = 4
"""Questions that the check `node` asks."""

Arrange = Callable[[Scene], Awaitable[None] | None]


@dataclass(frozen=True)
class Case:
    """What is broken, and what is said of it: parts of `seen` and of `remedy`."""

    check: str
    state: State
    seen: str
    remedy: str
    arrange: Arrange


def set_to(**variables: str) -> Arrange:
    """With these variables."""
    return lambda scene: scene.set(**variables)


def sql(statement: str) -> Arrange:
    """With a database in which this was executed."""
    return lambda scene: scene.sql(statement)


def with_free(count: float) -> Arrange:
    """With so many bytes free on the disk."""
    return lambda scene: setattr(scene, "change", lambda parts: setattr(parts, "free_bytes", lambda _: count))


def with_clock(off_s: float) -> Arrange:
    """With a clock that is so many seconds ahead."""
    clock = lambda: datetime.now(UTC).timestamp() + off_s  # noqa: E731
    return lambda scene: setattr(scene, "change", lambda parts: setattr(parts, "now", clock))


def of_node(method: str, answer: object) -> Arrange:
    """With a node that answers that question so; bytes are a whole HTTP answer."""

    def arrange(scene: Scene) -> None:
        if isinstance(answer, bytes):
            scene.refusals[method] = answer
        else:
            scene.answers[method] = answer

    return arrange


def with_session(account: object = None, **changes: object) -> Arrange:
    """With a session, and its account on the chain so."""

    async def arrange(scene: Scene) -> None:
        await scene.session(**changes)
        if account is not None:
            scene.accounts[ACCOUNT] = account

    return arrange


async def known_keyring(scene: Scene) -> None:
    async with scene.ledger() as ledger:
        assert await ledger.keys.refuse_or_register(KEYRING.with_new_key()) is None


async def another_keyring(scene: Scene) -> None:
    async with scene.ledger() as ledger:
        assert await ledger.keys.refuse_or_register(type(KEYRING).generate()) is None


async def fenced(scene: Scene) -> None:
    async with scene.ledger() as ledger:
        await ledger.fence.set("restored from a backup")


def reader_as_worker(scene: Scene) -> None:
    server = Server(scene.database_url)
    make_roles(server, {})
    assert apply_rights(server)
    scene.set(AUTOPAY_DATABASE_URL=scene.postgres.url(scene.database, Role.READ))


def reader_elsewhere(scene: Scene) -> None:
    scene.set(AUTOPAY_READ_DATABASE_URL=scene.postgres.url("postgres"))


async def unreadable_policy(scene: Scene) -> None:
    async with scene.ledger() as ledger:
        await ledger.agents.create("buyer")
        await ledger.policies.set(Policy(), "buyer")
    scene.sql(
        "SET session_replication_role = replica; "  # past the trigger that forbids it
        "UPDATE policies SET policy = policy || '{\"per_moon_atomic\": 5}'"
    )


async def no_policy(scene: Scene) -> None:
    async with scene.ledger() as ledger:
        await ledger.agents.create("buyer")


async def anchored_long_ago(scene: Scene) -> None:
    async with scene.ledger() as ledger:
        await ledger.agents.create("buyer")
        anchor = Anchor(
            id=uuid7(),
            network=Network.DEVNET,
            heads=b"",
            root="0" * 64,
            payer=OWNER,
            signature="signature",
            wire=b"signed",
            last_valid_block_height=1,
            status=AnchorState.PENDING,
            slot=None,
            created_at=datetime.now(UTC),
        )
        assert await ledger.audit.record_anchor(anchor)
        await ledger.audit.close_anchor(anchor.id, AnchorState.FINALIZED, 5)
    scene.change = lambda parts: setattr(parts, "now", lambda: datetime.now(UTC).timestamp() + 8 * 86_400)


async def unsigned(scene: Scene) -> None:
    asked = OwnerTransaction(does="grant", message="AA==", last_valid_block_height=5)
    await scene.session(owner_transaction=asked)


async def nearly_over(scene: Scene) -> None:
    await scene.session(duration_s=3_600)
    later = datetime.now(UTC) + timedelta(minutes=56)
    scene.change = lambda parts: setattr(parts, "now", later.timestamp)


async def without_schedule(scene: Scene) -> None:
    await _remove_schedule(scene)


async def paused(scene: Scene) -> None:
    await _remove_schedule(scene)
    client = await scheduled(scene)
    await client.get_schedule_handle(ADOPT_ID).pause()


async def scheduled(scene: Scene) -> Client:
    """A client of the Temporal in which a worker has made the schedule."""
    client = await Client.connect(scene.temporal, data_converter=data_converter(KEYRING))
    await schedule_adoption(client, scene.queue)
    return client


async def _remove_schedule(scene: Scene) -> None:
    client = await Client.connect(scene.temporal)
    known = [each.id async for each in await client.list_schedules()]
    if ADOPT_ID in known:
        await client.get_schedule_handle(ADOPT_ID).delete()


async def no_waits_worker(scene: Scene) -> None:
    await scene.poll(waits=False)


async def old_worker(scene: Scene) -> None:
    await scene.poll("5@elsewhere/autopay-0.0.9")


async def no_rollout(scene: Scene) -> None:
    await scene.poll(build="v1")


def little_history(scene: Scene) -> None:
    scene.set(AUTOPAY_SLOT_MS="10000")
    scene.answers.update(getFirstAvailableBlock=2, getEpochInfo={"absoluteSlot": 9_000, "blockHeight": 8_900})


def beside_a_stack(scene: Scene) -> None:
    """A stack that runs in the home that is set, by its file."""
    home, url = scene.folder / "home", "http://127.0.0.1:2"
    home.mkdir()
    known = dict.fromkeys(("temporal_ui", "codec", "facilitator", "market_api", "knowledge_api", "solana_ws"), url)
    stack = StackFile(
        **known,
        pid=os.getpid(),
        born=own_start_time(),
        home=str(home),
        temporal=scene.temporal,
        database_url=scene.database_url,
        work_url=scene.database_url,
        solana_rpc=url,
        slot_ms=400,
        usdc_mint="",
        cash_mint="",
    )
    stack.write(home)


NOBODY = "127.0.0.1:1"
"""Where nothing listens."""

CASES = {
    "an unknown setting": Case("settings", "failed", "did you mean", "change", set_to(AUTOPAY_DATABSE_URL="x")),
    "a setting that cannot be": Case("settings", "failed", "AUTOPAY_SLOT_MS", "change", set_to(AUTOPAY_SLOT_MS="-1")),
    "no keyring": Case("settings", "failed", "AUTOPAY_KEYRING: not set", "up --worker", set_to(AUTOPAY_KEYRING="")),
    "no Temporal": Case("settings", "failed", "TEMPORAL_ADDRESS", "set what", set_to(TEMPORAL_ADDRESS="")),
    "Temporal's address is none": Case("settings", "failed", "host:port", "change", set_to(TEMPORAL_ADDRESS="there")),
    "no keyring file": Case(
        "settings", "failed", "AUTOPAY_KEYRING_FILE", "change", set_to(AUTOPAY_KEYRING="", AUTOPAY_KEYRING_FILE="none")
    ),
    "settings that leave a stack": Case("stack", "warning", "lead elsewhere", "AUTOPAY_SOLANA_RPC_URL", beside_a_stack),
    "little disk": Case("disk", "warning", "1 GB free", "make room", with_free(10**9)),
    "no disk": Case("disk", "failed", "9 MB", "make room", with_free(9e6)),
    "the database is down": Case(
        "database",
        "failed",
        "does not answer",
        "PostgreSQL runs",
        set_to(AUTOPAY_DATABASE_URL=f"postgresql://u@{NOBODY}/d"),
    ),
    "no such database": Case(
        "database",
        "failed",
        "does not exist",
        "AUTOPAY_DATABASE_URL",
        lambda scene: scene.set(AUTOPAY_DATABASE_URL=scene.postgres.url("nowhere")),
    ),
    "commits do not reach the disk": Case("server", "failed", "fsync is off", "fsync = on", lambda _: None),
    "a database that only reads": Case(
        "server",
        "failed",
        "only read",
        "RESET",
        lambda scene: scene.sql(f"ALTER DATABASE {scene.database} SET default_transaction_read_only = on"),
    ),
    "never migrated": Case("migrations", "failed", "never", "db upgrade", sql("DELETE FROM alembic_version")),
    "an older schema": Case(
        "migrations",
        "failed",
        f"needs {migrations.head()}",
        "db upgrade",
        sql("UPDATE alembic_version SET version_num = '0007_readers'"),
    ),
    "a newer schema": Case(
        "migrations",
        "failed",
        "newer than this version",
        "install",
        sql("UPDATE alembic_version SET version_num = '9999_later'"),
    ),
    "a superuser": Case("role", "warning", "is a superuser", "db roles", lambda _: None),
    "a role that may too little": Case("role", "failed", "autopay_read may not", "db roles", reader_as_worker),
    "another database to read": Case("read_role", "failed", "another database", "name the database", reader_elsewhere),
    "another keyring": Case("keyring", "failed", "another keyring", "use the keyring", another_keyring),
    "an older copy of the keyring": Case("keyring", "failed", "lacks key 2", "use the keyring", known_keyring),
    "a fence": Case("fence", "failed", "restored from a backup", "reconcile --book", fenced),
    "a policy that cannot be read": Case("policy", "failed", "per_moon_atomic", "policy set", unreadable_policy),
    "no policy": Case("policy", "warning", "limit buyer", "policy set policy.toml", no_policy),
    "an old anchor": Case("anchor", "warning", "too old", "ledger anchor", anchored_long_ago),
    "an unsigned session": Case("sessions", "warning", "waits for its owner", "session submit", unsigned),
    "a session that ends": Case("sessions", "warning", "ends in", "session grant buyer", nearly_over),
    "a node that is down": Case(
        "node", "failed", "ConnectError", "check", set_to(AUTOPAY_SOLANA_RPC_URL=f"http://{NOBODY}")
    ),
    "a node of another network": Case(
        "node", "failed", "another network", "MAINNET", set_to(AUTOPAY_NETWORK="mainnet")
    ),
    "a node that lags": Case(
        "node",
        "warning",
        "behind by 90 slots",
        "caught up",
        of_node("getHealth", refusal(-32005, "Node is behind by 90 slots")),
    ),
    "a method that is not offered": Case(
        "methods",
        "failed",
        "getTokenAccountsByOwner: error -32010",
        "another plan",
        of_node("getTokenAccountsByOwner", refusal(-32010, "excluded from secondary indexes")),
    ),
    "payments cannot be sent": Case(
        "methods", "failed", "sendTransaction: HTTP 403", "another node", of_node("sendTransaction", http("", "403 No"))
    ),
    "no history": Case("history", "failed", "since slot 900", "another node", of_node("getFirstAvailableBlock", 900)),
    "a short history": Case("history", "warning", "1 d", "another node", little_history),
    "too few questions": Case(
        "limits", "warning", "10 of 10", "larger plan", lambda scene: setattr(scene, "most_questions", OF_NODE_CHECK)
    ),
    "no WebSocket": Case(
        "websocket", "warning", "Refused", "AUTOPAY_SOLANA_WS_URL", set_to(AUTOPAY_SOLANA_WS_URL=f"ws://{NOBODY}")
    ),
    "a CASH that is none": Case(
        "mints", "failed", f"no mint at {OWNER}", "AUTOPAY_CASH_MINT", set_to(AUTOPAY_CASH_MINT=OWNER)
    ),
    "a CASH of other decimals": Case(
        "mints",
        "failed",
        "9 decimals",
        "AUTOPAY_CASH_MINT",
        lambda scene: scene.accounts.update({str(CASH_MINT): mint(9)}),
    ),
    "a revoked delegation": Case(
        "delegations", "failed", "revoked", "session grant", with_session(token_account(delegate=None))
    ),
    "another delegate": Case(
        "delegations", "failed", "another key", "session grant", with_session(token_account(delegate=OWNER))
    ),
    "more was moved than is known": Case(
        "delegations",
        "failed",
        "0.4 USDC smaller",
        "reconcile",
        with_session(token_account(delegated=ALLOWANCE - 400_000)),
    ),
    "a frozen account": Case(
        "delegations", "failed", "is frozen", "ask the issuer", with_session(token_account(state=2))
    ),
    "an empty account": Case(
        "delegations", "warning", "has 0 USDC", "send USDC", with_session(token_account(amount=0))
    ),
    "a closed account": Case(
        "delegations",
        "failed",
        "is closed",
        "session grant",
        with_session({"data": ["", "base64"], "lamports": 1, "owner": OWNER}),
    ),
    "a clock that is slow": Case("clock", "warning", "behind the database", "NTP", with_clock(-20)),
    "a clock that is wrong": Case(
        "clock",
        "failed",
        "ahead of the database",
        "NTP",
        with_clock(7_200),
    ),
    "Temporal is down": Case(
        "temporal", "failed", "connection refused", "TEMPORAL_ADDRESS", set_to(TEMPORAL_ADDRESS=NOBODY)
    ),
    "no such namespace": Case(
        "namespace", "failed", "nowhere", "namespace create", set_to(TEMPORAL_NAMESPACE="nowhere")
    ),
    "no search attributes": Case(
        "search_attributes",
        "failed",
        "missing",
        "--name AutopayAgent --type Keyword",
        set_to(TEMPORAL_NAMESPACE="bare"),
    ),
    "another type of attribute": Case(
        "search_attributes", "failed", "AutopayPrice", "remove", set_to(TEMPORAL_NAMESPACE="wrong-type")
    ),
    "short retention": Case("retention", "warning", "1 h", "--retention 720h", set_to(TEMPORAL_NAMESPACE="forgetful")),
    "no worker": Case("workers", "failed", "stand still", "autopay worker", lambda _: None),
    "no worker that waits": Case("workers", "failed", "-waits", "restart", no_waits_worker),
    "a worker of another version": Case("versions", "warning", "0.0.9", "one version", old_worker),
    "a build that was not rolled out": Case("builds", "failed", "none of their builds", "rollout v1", no_rollout),
    "no schedule": Case("adoption", "warning", "no schedule", "autopay worker", without_schedule),
    "a paused schedule": Case("adoption", "warning", "is paused", "--unpause", paused),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_misconfiguration_is_found_by_its_check(case: Case, scene: Scene) -> None:
    arranged = case.arrange(scene)
    if isawaitable(arranged):
        await arranged
    found = await _look(scene, case.check)
    assert (found.state, case.seen in found.seen, case.remedy in found.remedy) == (case.state, True, True), found
    assert_no_secret(found)


async def _look(scene: Scene, check: str) -> CheckResult:
    if check == "settings":
        for name, value in scene.variables.items():
            scene.monkeypatch.setenv(name, value)
        return next(each for each in (await diagnose(None)).checks if each.name == check)
    return (await scene.look(check))[check]


def assert_no_secret(found: CheckResult) -> None:
    text = found.model_dump_json()
    assert "secret-api-key" not in text
    assert KEYRING.dump().split(":")[1][:43] not in text


def test_there_is_a_misconfiguration_for_each_check_that_can_fail() -> None:
    assert {case.check for case in CASES.values()} == {each.name for each in CHECKS}
    assert len(CASES) >= 20


def test_the_document_has_every_check_in_this_order() -> None:
    text = (Path(__file__).parents[2] / "docs/doctor.md").read_text(encoding="utf-8")
    checks = text.partition("| check | ")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", checks, re.MULTILINE) == [each.name for each in CHECKS]


async def test_nothing_is_wrong_where_everything_is_well_and_nothing_is_written(scene: Scene) -> None:
    server = Server(scene.database_url)
    make_roles(server, {})
    assert apply_rights(server)
    await scene.session()
    async with scene.ledger() as ledger:
        assert await ledger.keys.refuse_or_register(KEYRING) is None
        await ledger.policies.set(Policy(per_request_atomic=5))
    await _remove_schedule(scene)
    await scheduled(scene)
    await scene.poll()
    for name, role in (("AUTOPAY_DATABASE_URL", Role.WORK), ("AUTOPAY_READ_DATABASE_URL", Role.READ)):
        scene.set(**{name: scene.postgres.url(scene.database, role)})
    before = written(scene)
    found = await scene.look(*(each.name for each in CHECKS))
    assert written(scene) == before
    wrong = {name: each for name, each in found.items() if each.state != "ok"}
    # These tests' server has fsync off, nothing was ever anchored, and the embedded Temporal keeps little.
    assert list(wrong) == ["server", "anchor", "retention"], wrong
    assert "none was ever anchored" in found["anchor"].seen


def written(scene: Scene) -> list[object]:
    """All that the ledger's database holds, and which transaction has written it."""
    tables = "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    with psycopg.connect(scene.database_url) as connection:
        return [
            (table, *connection.execute(f"SELECT xmin, t FROM {table} t ORDER BY t::text").fetchall())  # noqa: S608
            for (table,) in connection.execute(tables).fetchall()
        ]


async def test_what_cannot_be_looked_at_is_no_false_alarm(scene: Scene) -> None:
    scene.set(AUTOPAY_DATABASE_URL=f"postgresql://u@{NOBODY}/d", AUTOPAY_SOLANA_RPC_URL=f"http://{NOBODY}")
    scene.set(TEMPORAL_ADDRESS=NOBODY)
    found = await scene.look(*(each.name for each in CHECKS))
    failed = [name for name, each in found.items() if each.state == "failed"]
    assert failed == ["database", "node", "temporal"]
    assert "the database cannot be asked" in found["keyring"].seen
    assert all(each.state == "unknown" for name, each in found.items() if name in ("sessions", "mints", "workers"))
