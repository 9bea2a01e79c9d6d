"""Gauges that are read: of a ledger that is busy, of the chain beside it, and of the folder of backups."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import pytest

from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import Server
from autopay.adapters.postgres.reports.gauges import Gauges
from autopay.domain.audit.anchor import AnchorState
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import TokenAccount
from autopay.domain.policy.policy import Policy
from autopay.domain.request import RequestStatus
from autopay.domain.upkeep import ACTOR, Duty
from autopay.metrics import table
from autopay.metrics.gauges import Reading, Shown
from autopay.metrics.sources import LiveSession, compare_with_chain, newest_backup
from localnet.postgres.server import EmbeddedPostgres
from tests.ledger.books import PRICE, Book, open_book
from tests.ledger.proofs import Tamperer
from tests.unit.metrics.meters import KeptMeter, recorded_by

OF = ("buyer", "USDC")


@pytest.fixture
def hand(database_url: str) -> Tamperer:
    return Tamperer(database_url)


async def shown(book: Book) -> KeptMeter:
    """What the gauges show of the ledger now."""
    with recorded_by(KeptMeter()) as meter:
        Shown().show(await Gauges(book.ledger.database, Network.DEVNET).read())
    return meter


async def test_an_idle_agent_has_zeros_and_its_session(book: Book) -> None:
    meter = await shown(book)
    assert meter.values_of(table.AGENTS) == {(): 1}
    for metric in (
        table.OPEN_PAYMENTS,
        table.OLDEST_OPEN,
        table.QUEUED,
        table.ASKED,
        table.DAY_SPENT,
    ):
        assert meter.values_of(metric) == {("buyer",): 0}
    assert meter.values_of(table.SESSION_CAP) == {OF: 1_000_000}
    assert meter.values_of(table.SESSION_PAYMENTS_LEFT) == {OF: 1_000}
    assert 0 < meter.values_of(table.SESSION_LEFT)[OF] <= 3_600
    paused = {("buyer", reason): 0 for reason in ("person", "money", "session")}
    assert meter.values_of(table.PAUSED) == paused
    assert meter.values_of(table.FENCE) == {(): 0}
    assert not meter.has(table.DAY_CAP)
    assert not meter.has(table.ANCHOR_AGE)
    assert not meter.has(table.UPKEEP_AGE)


async def test_payments_are_open_until_they_are_final_and_undelivered_when_nothing_came(
    book: Book, hand: Tamperer
) -> None:
    delivered, open_one, undelivered, asking = [await book.recorded() for _ in range(4)]
    await book.ledger.policies.set(Policy(per_agent_day_atomic=10 * PRICE))
    await book.delivered(delivered)
    await book.settled(delivered)
    await book.settled(undelivered)
    await book.settled(asking)
    await book.end(undelivered.request_key, RequestStatus.UNDELIVERED)
    hand.does("UPDATE transactions SET created_at = now() - interval '10 minutes' WHERE id = %s", open_one.attempt_id)
    meter = await shown(book)
    assert meter.values_of(table.OPEN_PAYMENTS) == {("buyer",): 1}
    assert meter.values_of(table.OPEN_ATOMIC) == {OF: PRICE}
    assert 600 <= meter.values_of(table.OLDEST_OPEN)[("buyer",)] < 3_600
    assert meter.values_of(table.UNDELIVERED) == {("buyer", "asking"): 1, ("buyer", "ended"): 1}
    assert meter.values_of(table.SESSION_SPENT) == {OF: 4 * PRICE}
    assert meter.values_of(table.SESSION_PAYMENTS_LEFT) == {OF: 996}
    assert meter.values_of(table.DAY_SPENT) == {("buyer",): 4 * PRICE}
    assert not meter.has(table.DAY_CAP), "the agent has a policy of its own, without such a limit"
    await book.ledger.policies.set(Policy(per_agent_day_atomic=5 * PRICE), "buyer")
    assert (await shown(book)).values_of(table.DAY_CAP) == {("buyer",): 5 * PRICE}
    assert await Gauges(book.ledger.database, Network.DEVNET).sellers(5) == ["market.test:443"]


async def test_pauses_say_why(book: Book, hand: Tamperer) -> None:
    await open_book(book.ledger, "idle")
    await book.ledger.agents.record_balance("buyer", Currency.USDC, 5_000, 10_000, "PAUSED")
    hand.does("UPDATE agents SET priority_rules = %s WHERE name = 'buyer'", json.dumps({"pause": "for today"}))
    hand.does("UPDATE sessions SET expires_at = now() WHERE id = %s", book.session_id)
    meter = await shown(book)
    assert {labels for labels, value in meter.values_of(table.PAUSED).items() if value} == {
        ("buyer", reason) for reason in ("person", "money", "session")
    }
    assert meter.values_of(table.BALANCE) == {OF: 5_000}
    assert meter.values_of(table.BALANCE_NEEDED) == {OF: 10_000}
    assert meter.values_of(table.SESSION_LEFT)[OF] == 0
    await book.ledger.agents.record_balance("buyer", Currency.CASH, 50_000, 10_000, "SUFFICIENT")
    assert (await shown(book)).values_of(table.PAUSED)[("buyer", "money")] == 0, "one currency is enough"


async def test_fence_anchors_and_scheduled_runs(book: Book, hand: Tamperer) -> None:
    await book.ledger.fence.set("a test")
    hand.does(
        "INSERT INTO audit_anchors (id, network, root, heads, payer, signature, wire, last_valid_block_height, status, "
        "created_at) VALUES (gen_random_uuid(), 'DEVNET', '', '', '', '', '', 1, %s, now() - interval '1 day')",
        AnchorState.FINALIZED.value,
    )
    for duty, outcome in ((Duty.RECONCILE, "done"), (Duty.VERIFY, "done"), (Duty.VERIFY, "failed")):
        await book.ledger.operator_actions.record(duty, actor=ACTOR, via=ACTOR, details={}, outcome=outcome, error=None)
    meter = await shown(book)
    assert meter.values_of(table.FENCE) == {(): 1}
    assert 86_400 <= meter.values_of(table.ANCHOR_AGE)[()] < 90_000
    assert meter.values_of(table.UNANCHORED) == {(): 0}
    assert meter.values_of(table.UPKEEP_FAILED) == {("reconcile",): 0, ("verify",): 1}
    assert meter.values_of(table.UPKEEP_AGE).keys() == {("reconcile",), ("verify",)}


async def test_the_role_that_only_reads_is_enough(book: Book, database_url: str, postgres: EmbeddedPostgres) -> None:
    await book.settled(await book.recorded())
    server = Server(database_url)
    make_roles(server, {})
    assert apply_rights(server)
    reader = open_ledger(postgres.url(server.name, Role.READ), reads_only=True)
    try:
        gauges = Gauges(reader.database, Network.DEVNET)
        assert {each.metric for each in await gauges.read()} >= {table.AGENTS, table.FENCE, table.SESSION_LEFT}
        assert len(await gauges.live_sessions(20)) == 1
    finally:
        await reader.dispose()


# Beside the chain


class PlayedAccounts:
    """The account of the only session, with that much left for that delegate."""

    def __init__(self, left: int, delegate: str | None = "delegate") -> None:
        self.left, self.delegate = left, delegate

    async def token_account(self, address: str) -> TokenAccount | None:
        return TokenAccount(
            address=address,
            owner="owner",
            mint="mint",
            amount_atomic=5_000_000,
            delegate=self.delegate,
            delegated_atomic=self.left,
            slot=1,
        )


class TwoReadings:
    """A ledger that is read before the chain and after it."""

    def __init__(self, *readings: tuple[int, int]) -> None:
        self._readings = [
            LiveSession(UUID(int=1), "buyer", "USDC", "source", "delegate", 1_000_000, settled, reserved)
            for settled, reserved in readings
        ]

    async def live_sessions(self, most: int) -> Sequence[LiveSession]:
        return [self._readings.pop(0)]

    async def read(self) -> Sequence[Reading]:
        raise NotImplementedError

    async def sellers(self, most: int) -> Sequence[str]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("before", "gone", "after", "difference"),
    [
        pytest.param((3_000, 3_000), 3_000, (3_000, 3_000), 0, id="they agree"),
        pytest.param((3_000, 5_000), 3_000, (3_000, 5_000), 0, id="what is open has not landed"),
        pytest.param((3_000, 5_000), 5_000, (3_000, 5_000), 0, id="what is open has landed"),
        pytest.param((3_000, 3_000), 4_000, (3_000, 4_000), 0, id="a payment was made meanwhile"),
        pytest.param((3_000, 3_000), 4_500, (3_000, 4_000), 500, id="the chain knows more"),
        pytest.param((3_000, 3_000), 1_000, (3_000, 3_000), 2_000, id="the ledger knows more"),
    ],
)
async def test_what_is_gone_of_the_allowance_is_what_the_ledger_says(
    before: tuple[int, int], gone: int, after: tuple[int, int], difference: int
) -> None:
    found = await compare_with_chain(TwoReadings(before, after), PlayedAccounts(1_000_000 - gone))
    of = {"agent": "buyer", "currency": "USDC"}
    assert list(found) == [
        Reading(table.DELEGATED, 1_000_000 - gone, of),
        Reading(table.DIFFERENCE, difference, of),
    ]


async def test_an_account_that_another_key_may_use_is_not_compared(book: Book) -> None:
    readings = ((0, 0), (0, 0))
    for account in (PlayedAccounts(7, delegate="another"), PlayedAccounts(0, delegate=None)):
        found = await compare_with_chain(TwoReadings(*readings), account)
        assert list(found) == [Reading(table.DELEGATED, 0, {"agent": "buyer", "currency": "USDC"})]


async def test_the_session_of_a_ledger_is_compared_with_all_that_it_reserved(book: Book, hand: Tamperer) -> None:
    await book.settled(await book.recorded())
    await book.recorded(amount=3 * PRICE)
    (session,) = await Gauges(book.ledger.database, Network.DEVNET).live_sessions(20)
    assert (session.settled_atomic, session.reserved_atomic) == (PRICE, 4 * PRICE)
    assert (session.agent, session.authority, session.allowance_atomic) == ("buyer", "delegate", 1_000_000)
    hand.does("UPDATE sessions SET expires_at = now()")
    assert await Gauges(book.ledger.database, Network.DEVNET).live_sessions(20) == []


def test_the_newest_backup_counts(tmp_path: Path) -> None:
    assert newest_backup(tmp_path / "none", 1_000) == ()
    assert newest_backup(tmp_path, 1_000) == ()
    for name, at in (("old.dump", 100), ("new.dump", 900), ("not-yet.dump.part", 999)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (at, at))
    assert newest_backup(tmp_path, 1_000) == (Reading(table.BACKUP_AGE, 100),)
