"""Ledger against chain: every kind of mismatch is found and named, what is under way is none, and marks never lie."""

import contextlib
import random
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from autopay.domain.money import Currency
from autopay.domain.reconcile.checkpoint import AccountTransaction, HistoryPosition
from autopay.domain.reconcile.compare import UNRESOLVED, BookedAttempt, Payer, ReconcileFinding
from autopay.domain.reconcile.report import ReconcileReport
from autopay.domain.reconcile.run import CheckpointForeign
from tests.unit.books_and_chain import BooksAndChain, CutOff, booked_of, payer_of, seen_of

Spoil = Callable[[BooksAndChain, Payer], None]


def world_of(payments: int = 7) -> tuple[BooksAndChain, Payer]:
    """A session whose payments are on both sides."""
    world = BooksAndChain()
    payer = world.session()
    world.land(payer, AccountTransaction(signature="the grant", slot=1))
    for number in range(1, payments + 1):
        world.pay(payer, 10 * number)
    return world, payer


def reasons(report: ReconcileReport) -> list[str]:
    """Every finding, mismatches first."""
    return [each.reason.value for each in (*report.unmatched_chain, *report.unmatched_ledger, *report.unresolved)]


async def test_payments_that_are_on_both_sides_agree_to_the_unit() -> None:
    world, _ = world_of()
    other = world.session("other", Currency.CASH)
    world.pay(other, 33, "cash")
    report = await world.reconcile()
    assert (report.ok, report.payments, report.on_chain, report.others) == (True, 8, 8, 1)
    assert report.spent_ledger == report.spent_chain == {Currency.USDC: "0.007000", Currency.CASH: "0.001000"}
    assert reasons(report) == []


async def test_nothing_at_all_agrees() -> None:
    report = await BooksAndChain().reconcile()
    assert (report.ok, report.payments, report.spent_ledger) == (True, 0, {})


async def test_one_agent_is_compared_alone() -> None:
    world, _ = world_of()
    other = world.session("other")
    world.land(other, seen_of(other, 5, "stolen"))
    assert (await world.reconcile("buyer")).ok
    report = await world.reconcile("other")
    assert (report.ok, report.sessions, report.spent_ledger, report.spent_chain) == (
        False,
        1,
        {Currency.USDC: "0.000000"},
        {Currency.USDC: "0.001000"},
    )


def changed(**changes: Any) -> Spoil:
    """The booking of slot 40 says something else."""

    def spoil(world: BooksAndChain, payer: Payer) -> None:
        world.amend(next(row for _, row in world.rows if row.slot == 40), **changes)

    return spoil


def _transfer_without_attempt(world: BooksAndChain, payer: Payer) -> None:
    world.land(payer, seen_of(payer, 45, "stolen"))


def _second_transfer_in_one_transaction(world: BooksAndChain, payer: Payer) -> None:
    seen = seen_of(payer, 45, "twice")
    world.land(payer, seen.model_copy(update={"transfers": seen.transfers * 2}))
    world.book(payer, booked_of(payer, 45, "twice"))


def _booking_without_transfer(world: BooksAndChain, payer: Payer) -> None:
    world.book(payer, booked_of(payer, 45, "invented"))


def _booking_at_confirmed_without_transfer(world: BooksAndChain, payer: Payer) -> None:
    world.book(payer, booked_of(payer, 45, "dropped", status="SUCCESS", verification_hash=None))


def _booking_after_the_last_transfer(world: BooksAndChain, payer: Payer) -> None:
    world.book(payer, booked_of(payer, 999, "invented"))


def _booking_before_the_first_transfer(world: BooksAndChain, payer: Payer) -> None:
    world.book(payer, booked_of(payer, 0, "invented"))


def _booking_for_no_session(world: BooksAndChain, payer: Payer) -> None:
    world.book(None, booked_of(payer, 45, "stray"))


def _verified_without_slot(world: BooksAndChain, payer: Payer) -> None:
    world.book(payer, booked_of(payer, None, "slotless"))


def _older_than_the_node(world: BooksAndChain, payer: Payer) -> None:
    world.book(payer, booked_of(payer, 5, "forgotten"))
    world.held = 6


MISMATCHES: list[tuple[Spoil, list[str], str | None]] = [
    # what is spoilt, reasons, the transaction that is named
    (_transfer_without_attempt, ["unknown_to_ledger"], "signature stolen"),
    (_second_transfer_in_one_transaction, ["unknown_to_ledger"], "signature twice"),
    (changed(status="FAILED"), ["booked_as_failed"], "signature 40"),
    (changed(message_hash="other"), ["message_differs"], "signature 40"),
    (changed(signature="other"), ["signature_differs"], "signature 40"),
    (changed(slot=41), ["slot_differs"], "signature 40"),
    (changed(source_account="other"), ["source_differs"], "signature 40"),
    (changed(authority="other"), ["authority_differs"], "signature 40"),
    (changed(destination_account="other"), ["destination_differs"], "signature 40"),
    (changed(mint="other"), ["mint_differs"], "signature 40"),
    (changed(currency=Currency.CASH), ["currency_differs"], "signature 40"),
    (changed(amount_atomic=999), ["amount_differs"], "signature 40"),
    (changed(status="PENDING", amount_atomic=999), ["amount_differs"], "signature 40"),
    (changed(verification_hash="0" * 64), ["verification_hash_differs"], "signature 40"),
    (changed(verification_hash=None), ["verification_hash_differs"], "signature 40"),
    (_booking_without_transfer, ["not_on_chain"], "signature invented"),
    (_booking_at_confirmed_without_transfer, ["not_on_chain"], "signature dropped"),
    (_booking_after_the_last_transfer, ["not_on_chain"], "signature invented"),
    (_booking_before_the_first_transfer, ["not_on_chain"], "signature invented"),
    (_older_than_the_node, ["older_than_the_node"], "signature forgotten"),
    (_booking_for_no_session, ["no_session"], "signature stray"),
    (_verified_without_slot, ["no_slot"], "signature slotless"),
]


@pytest.mark.parametrize(("spoil", "wanted", "transaction"), MISMATCHES)
@pytest.mark.parametrize("batch", [1, 3, 100])
async def test_every_kind_of_mismatch_is_found_and_found_again(
    spoil: Spoil, wanted: list[str], transaction: str | None, batch: int
) -> None:
    world, payer = world_of()
    world.batch = batch
    spoil(world, payer)
    for _ in range(2):  # the second time from the marks of the first
        report = await world.reconcile()
        assert not report.ok
        assert set(wanted) <= set(reasons(report)) <= {*wanted, "not_on_chain"}
        assert transaction in [each.transaction for each in (*report.unmatched_chain, *report.unmatched_ledger)]
        assert report.unresolved == ()


@pytest.mark.parametrize("finding", [each for each in ReconcileFinding if each not in UNRESOLVED])
def test_the_table_of_mismatches_is_complete(finding: ReconcileFinding) -> None:
    assert finding.value in {reason for _, wanted, _ in MISMATCHES for reason in wanted}


@pytest.mark.parametrize("status", ["PENDING", "RETRYING", "SUCCESS"])
async def test_what_landed_and_is_not_booked_yet_is_unresolved_and_then_booked(status: str) -> None:
    world, payer = world_of()
    world.land(payer, seen_of(payer, 80))
    attempt = world.book(payer, booked_of(payer, None, "80", status=status, signature=None))
    for _ in range(2):
        report = await world.reconcile()
        assert (report.ok, report.payments, report.on_chain) == (True, 7, 8)
        assert reasons(report) == ["open_on_chain"]
        assert (report.unresolved[0].transaction, report.unresolved[0].status) == ("signature 80", status)
    done = booked_of(payer, 80)
    world.amend(attempt, **done.model_dump(include={"status", "slot", "signature", "verification_hash"}))
    report = await world.reconcile()
    assert (report.ok, report.payments, report.on_chain, reasons(report)) == (True, 8, 8, [])


async def test_a_payment_that_is_booked_during_the_walk_is_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    world, payer = world_of()
    world.land(payer, seen_of(payer, 80))
    attempt = world.book(
        payer, booked_of(payer, 80).model_copy(update={"status": "RETRYING", "slot": None, "signature": None})
    )
    totals = world.totals

    async def booked_just_before(*arguments: Any) -> Any:
        world.amend(attempt, status="VERIFIED", slot=80, signature="signature 80")
        return await totals(*arguments)

    monkeypatch.setattr(world, "totals", booked_just_before)
    report = await world.reconcile()
    assert (report.ok, report.payments, report.on_chain, reasons(report)) == (True, 8, 8, [])


async def test_a_receipts_claim_and_a_booking_above_finality_are_unresolved() -> None:
    world, payer = world_of()
    world.book(payer, booked_of(payer, None, "claim", status="SUCCESS", signature=None))
    world.book(payer, booked_of(payer, 1_001, "young", status="SUCCESS"))
    world.land(payer, seen_of(payer, 1_001, "young"))
    report = await world.reconcile()
    assert (report.ok, report.payments, report.on_chain) == (True, 7, 7)
    assert sorted(reasons(report)) == ["claimed_only", "not_final_yet"]


async def test_what_is_open_and_not_on_chain_is_nobodys_business() -> None:
    world, payer = world_of()
    world.book(payer, booked_of(payer, None, "pending", status="PENDING", signature=None))
    world.book(payer, booked_of(payer, None, "dead", status="FAILED", signature=None))
    report = await world.reconcile()
    assert (report.ok, reasons(report)) == (True, [])


# Marks


async def test_a_later_run_walks_only_what_is_newer() -> None:
    world, payer = world_of()
    await world.reconcile()
    assert world.walked == 8
    world.tip = 2_000
    world.pay(payer, 1_500)
    report = await world.reconcile()
    assert (report.ok, report.payments, report.on_chain, report.others) == (True, 8, 8, 1)
    assert world.walked == 9
    assert world.marks.sessions[payer.session_id].compared == HistoryPosition(signature="signature 1500", slot=1_500)


async def test_a_mark_stays_below_a_mismatch() -> None:
    world, payer = world_of()
    world.land(payer, seen_of(payer, 45, "stolen"))
    await world.reconcile()
    mark = world.marks.sessions[payer.session_id]
    assert (mark.compared, mark.sums.on_chain) == (HistoryPosition(signature="signature 40", slot=40), 4)


async def test_a_booking_that_is_changed_behind_the_mark_is_told_by_the_totals() -> None:
    world, _ = world_of()
    assert (await world.reconcile()).ok
    changed(amount_atomic=999)(world, payer_of())
    report = await world.reconcile()
    assert (report.ok, reasons(report)) == (False, [])
    assert (report.spent_ledger, report.spent_chain) == ({Currency.USDC: "0.006999"}, {Currency.USDC: "0.007000"})


async def test_a_run_that_is_cut_off_goes_on_in_mid_account_and_then_with_what_came_since() -> None:
    world, payer = world_of()
    other = world.session("other")
    world.pay(other, 15, "other")
    world.batch, world.cut_before = 2, 3
    with pytest.raises(CutOff):
        await world.reconcile()
    assert world.marks.sessions[payer.session_id].walk is not None
    world.cut_before, before = None, world.walked
    world.tip = 2_000
    world.pay(payer, 1_500)
    world.pay(other, 1_600, "more")
    report = await world.reconcile()
    assert (report.ok, report.payments, report.on_chain, reasons(report)) == (True, 10, 10, [])
    assert (before, world.walked) == (6, 11)


async def test_a_checkpoint_of_another_chain_is_refused() -> None:
    world, payer = world_of()
    await world.reconcile()
    world.chain[payer.source_account] = [seen_of(payer, 999, "elsewhere")]
    with pytest.raises(CheckpointForeign):
        await world.reconcile()


@pytest.mark.parametrize("seed", range(40))
async def test_marks_and_interruptions_never_change_what_is_found(seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311
    world = BooksAndChain(batch=dice.randint(1, 4))
    payers = [world.session() for _ in range(dice.randint(1, 3))]
    still_open: list[tuple[Payer, int, BookedAttempt]] = []
    for slot in range(1, 60):
        _random_event(world, dice.choice(payers), slot, dice, still_open)
        world.tip = slot
        if dice.random() < 0.2:
            world.cut_before = world.calls + dice.randint(0, 4) if dice.random() < 0.5 else None
            with contextlib.suppress(CutOff):
                await world.reconcile()
    world.cut_before = None
    with_marks = await world.reconcile()
    world.marks.sessions.clear()
    assert with_marks == await world.reconcile(), f"seed {seed}"
    assert with_marks.payments == sum(row.is_booked for _, row in world.rows), f"seed {seed}"
    assert with_marks.on_chain == sum(len(each.transfers) for rows in world.chain.values() for each in rows)


def _random_event(
    world: BooksAndChain,
    payer: Payer,
    slot: int,
    dice: random.Random,
    still_open: list[tuple[Payer, int, BookedAttempt]],
) -> None:
    name = uuid4().hex
    match dice.choice([*["paid"] * 8, "stolen", "invented", "open", "other", "later", "later"]):
        case "paid":
            world.pay(payer, slot, name)
        case "stolen":
            world.land(payer, seen_of(payer, slot, name))
        case "invented":
            world.book(payer, booked_of(payer, slot, name))
        case "open":
            world.land(payer, seen_of(payer, slot, name))
            attempt = booked_of(payer, None, name, status="RETRYING", signature=None)
            still_open.append((payer, slot, world.book(payer, attempt)))
        case "other":
            world.land(payer, AccountTransaction(signature=name, slot=slot))
        case _ if still_open:
            paid, landed, attempt = still_open.pop(0)
            done = booked_of(paid, landed, (attempt.message_hash or "").removeprefix("message "))
            world.amend(attempt, **done.model_dump(include={"status", "slot", "signature", "verification_hash"}))
