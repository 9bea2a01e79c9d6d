"""Stories without chance, each of which once ended badly."""

import asyncio
import json
from collections.abc import Sequence
from random import Random
from typing import Any

from autopay.domain.payment.chain import HistoryEntry, LandedTransaction, TokenAccount
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import (
    MAX_SENDS,
    Content,
    Seen,
    SellerAnswer,
    Settled,
    Submit,
    Verdict,
    next_step,
)
from autopay.domain.payment.run import PaymentRun
from autopay.domain.payment.settlement import check_settlement
from autopay.domain.payment.steps import AttemptRef, PaymentOrder, SignInput
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import RequestSpec, RequestStatus, x402_request_id
from tests.simulation.journal import Journal
from tests.simulation.product import ASK_FOR_S, Activities
from tests.simulation.shell import Shell
from tests.simulation.steps import ENVIRONMENT, SimSteps
from tests.world.chain import CONFIRMED_DEPTH, SLOT_MS
from tests.world.clock import now_ms, run_virtually, sleep_ms
from tests.world.faults import Process
from tests.world.node import SimNode, View
from tests.world.rows import AttemptEntry
from tests.world.shop import Shop
from tests.world.world import World

PATIENCE_S = 3_600
SPEC = RequestSpec(request_id="one", url="https://shop.example/data")
KEY = x402_request_id("agent", "one")
ORDER = PaymentOrder(agent="agent", request_id="one", request_key=KEY, url=SPEC.url)
FIRST = AttemptRef(order=ORDER, number=1)


async def world_where_sellers(behaviour: str) -> World:
    shops = [Shop(host="shop.example", price_atomic=1_000, redelivers=False)]
    rng = Random(1)  # noqa: S311
    world = World(shops, rng=rng, rates={f"seller.{behaviour}": 1.0}, quiet_at_ms=10**9)
    world.launch("agent", balance=50_000, allowance=5_000, tx_limit=10)
    await sleep_ms(60_000)
    await world.ledger.requests.accept("agent", SPEC, 1.0, 10)
    return world


async def signed_and_sent(world: World) -> SellerAnswer:
    activities = Activities.over(world)
    offer = await activities.parse.parse(ORDER, world.seller.till(SPEC.url).shop.challenge())
    assert isinstance(offer, Offer)
    await activities.sign.sign(SignInput(order=ORDER, number=1, offer=offer))
    return await ENVIRONMENT.run(activities.submit.submit, FIRST)


def test_a_payment_whose_delegation_was_taken_away_stays_open_and_nothing_new_is_signed() -> None:
    """Its allowance can prove nothing any more, so it is not called dead: somebody has to look."""

    async def story() -> tuple[bool, int]:
        world = await world_where_sellers("pending_and_never_lands")
        running = asyncio.create_task(Shell(world, Activities.over(world), ORDER).run())
        await sleep_ms(10_000)
        world.launch("agent", balance=0, allowance=7_000, tx_limit=10, key_number=2)
        await asyncio.wait({running}, timeout=PATIENCE_S)
        ended = running.done()
        running.cancel()
        return ended, len(world.ledger.store.attempts)

    assert run_virtually(story()) == (False, 1)


def test_a_person_who_calls_such_a_payment_dead_lets_its_request_go_on() -> None:
    async def story() -> tuple[bool, list[str]]:
        world = await world_where_sellers("pending_and_never_lands")
        running = asyncio.create_task(Shell(world, Activities.over(world), ORDER).run())
        await sleep_ms(10_000)
        world.launch("agent", balance=9_000, allowance=7_000, tx_limit=10, duration_ms=9_000_000, key_number=2)
        await asyncio.wait({running}, timeout=PATIENCE_S)
        stuck = not running.done()
        world.faults.quiet_at_ms = now_ms()
        first = next(iter(world.ledger.store.attempts))
        await world.ledger.payments.record_dead(first, "decided by a person: revoked in another wallet")
        result = await asyncio.wait_for(running, PATIENCE_S)
        return stuck, [result.status.value, *(each.status.value for each in world.ledger.store.attempts.values())]

    assert run_virtually(story()) == (True, ["delivered", "FAILED", "VERIFIED"])


def test_the_chain_is_looked_at_while_the_seller_lets_a_payment_wait() -> None:
    async def story() -> tuple[bool, str, SellerAnswer]:
        world = await world_where_sellers("settles_and_answers_late")
        began = now_ms()
        submitting = asyncio.create_task(signed_and_sent(world))
        while not (rows := world.ledger.store.attempts) or next(iter(rows.values())).status != "VERIFIED":
            assert now_ms() - began < PATIENCE_S * 1000
            await sleep_ms(100)
        waits = not submitting.done()
        return waits, next(iter(rows.values())).status.value, await submitting

    waits, status, answer = run_virtually(story())
    assert (waits, status) == (True, "VERIFIED")
    assert isinstance(answer, Content)


def test_what_settles_when_all_sends_are_used_up_is_asked_for_and_delivered() -> None:
    async def story() -> tuple[RequestStatus, int, int]:
        world = await world_where_sellers("settles_late_and_then_delivers")
        result = await asyncio.wait_for(Shell(world, Activities.over(world), ORDER).run(), PATIENCE_S)
        [attempt] = world.ledger.store.attempts.values()
        return result.status, attempt.sends, attempt.settled_sends

    status, sends, settled_sends = run_virtually(story())
    assert (status, settled_sends) == (RequestStatus.DELIVERED, 1)
    assert sends == MAX_SENDS + 1, "all that it had before it settled, and one more"


async def settled(world: World) -> AttemptEntry:
    """The only attempt, as soon as the ledger knows that it settled."""
    while not (rows := list(world.ledger.store.attempts.values())) or rows[0].status != "VERIFIED":
        await sleep_ms(50)
    return rows[0]


def test_sends_that_a_long_outage_of_the_ledger_swallows_are_not_counted() -> None:
    async def story() -> tuple[RequestStatus, int]:
        world = await world_where_sellers("settles_late_and_then_delivers")
        running = asyncio.create_task(Shell(world, Activities.over(world), ORDER).run())
        attempt = await settled(world)
        world.ledger.store.away_until_ms = now_ms() + 40 * ASK_FOR_S * 1000
        result = await asyncio.wait_for(running, PATIENCE_S)
        return result.status, attempt.settled_sends

    assert run_virtually(story()) == (RequestStatus.DELIVERED, 1)


def test_a_refusal_from_before_settlement_is_no_answer_to_what_is_asked_since() -> None:
    """Another run begins when the seller has refused, was paid, and has not answered since."""

    async def story() -> tuple[str | None, bool]:
        world = await world_where_sellers("conflict")
        await signed_and_sent(world)
        attempt = next(iter(world.ledger.store.attempts.values()))
        world.chain.broadcast(*handed_over(attempt))
        await sleep_ms(60_000)
        assert isinstance(await Activities.over(world).verify.verify(FIRST), Settled)
        refused = attempt.last_answer
        await world.ledger.payments.record_sending(attempt.attempt_id)
        recalled = await Activities.over(world).log.recall(ORDER)
        return refused, isinstance(next_step(recalled.payment), Submit)

    assert run_virtually(story()) == ("conflict", True)


def handed_over(attempt: AttemptEntry) -> tuple[dict[str, Any], str]:
    """The message and its signature, as the seller gets them."""
    payment = json.loads(attempt.signed.sealed.split("|", 2)[2])
    return payment["message"], payment["signature"]


class LookedAtTwice(SimNode):
    """Its index is behind; while it is asked for the account, another run sees the payment on another node."""

    def __init__(self, world: World) -> None:
        super().__init__(world.chain, "", [])
        self.world = world

    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[HistoryEntry]:
        """Nothing."""
        return []

    async def transaction(self, signature: str) -> LandedTransaction | None:
        """Nothing."""
        return None

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        """True, and late."""
        (attempt,) = self.world.ledger.store.attempts.values()
        (landed,) = self.world.chain.transactions
        lag = self.world.chain.slot_now() - landed.slot - CONFIRMED_DEPTH - 3
        behind = SimNode(self.world.chain, "", [])
        behind._view = lambda method: View(lag=lag)  # type: ignore[method-assign]
        seen = await check_settlement(behind, self.world.ledger.sessions.booked_up_to, attempt.recorded(), SLOT_MS)
        assert isinstance(seen, Seen), seen
        await self.world.ledger.payments.record_seen(attempt.attempt_id, seen.settlement, final=False)
        return await super().token_account(address, final=final, min_slot=min_slot)


def test_a_payment_seen_while_it_is_looked_at_is_not_dead() -> None:
    async def story() -> Verdict:
        world = await world_where_sellers("answer_lost_after_settling")
        await signed_and_sent(world)
        await sleep_ms(100_000)
        (attempt,) = world.ledger.store.attempts.values()
        return await check_settlement(
            LookedAtTwice(world), world.ledger.sessions.booked_up_to, attempt.recorded(), SLOT_MS
        )

    assert run_virtually(story()).kind == "unknown"


def test_a_run_that_knows_of_no_payment_does_not_close_one_that_settled_as_refused() -> None:
    async def story() -> bool:
        world = await world_where_sellers("answer_lost_after_settling")
        activities = Activities.over(world)
        steps = SimSteps(activities, Journal(), Process("late"), world.faults, lambda _: None, lambda _: False)
        late = steps.payment_run = PaymentRun(ORDER, steps)
        await late._recall()
        await signed_and_sent(world)
        await sleep_ms(60_000)
        assert isinstance(await activities.verify.verify(FIRST), Settled)
        late._end(RequestStatus.REFUSED, RefusalReason.CANCELED, "canceled before anything was paid")
        assert late._result is not None
        return await late._ledger_agrees(late._result)

    assert not run_virtually(story())
