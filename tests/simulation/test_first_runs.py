"""Stories without chance of first runs: what their order says is compared with the ledger before anything is paid,
what their seller claims is believed only of their own transaction, and what is left out is made up for later."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from autopay.domain.errors import PaymentMisbuilt
from autopay.domain.payment.attempt import SignedPayment, UnsignedPayment
from autopay.domain.payment.exchange import Receipt, Reply, UnpaidReply
from autopay.domain.payment.notice import Notice
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import Content, Seen, Settled, Unknown, Verdict
from autopay.domain.payment.steps import AttemptRef, LogInput, PaymentOrder, SettledAttempt, SignedAttempt, SignInput
from autopay.domain.phase import Phase
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestResult, RequestSpec, RequestStatus, x402_request_id
from tests.simulation.product import Activities
from tests.simulation.shell import Shell
from tests.simulation.steps import ENVIRONMENT
from tests.world.behaviours import Payment, Till
from tests.world.clock import run_virtually, sleep_ms
from tests.world.rows import AttemptEntry
from tests.world.seller import SimSeller
from tests.world.shop import Shop
from tests.world.vault import PlainSigner, digest, transaction_id
from tests.world.world import World

PATIENCE_S = 3_600
PRICE = 1_000
URL, OTHER_URL = "https://shop.example/data", "https://other.example/data"
KEY = x402_request_id("agent", "one")
FINAL_MS = 60_000
"""Longer than anything takes to be final, and shorter than what a worker remembers."""


def spec(url: str = URL, **changes: object) -> RequestSpec:
    return RequestSpec.model_validate({"request_id": "one", "url": url} | changes)


def order_of(accepted: RequestSpec) -> PaymentOrder:
    """A first run's order, with that request."""
    return PaymentOrder(agent="agent", request_id="one", request_key=KEY, url=accepted.url, accepted=accepted)


async def calm_world(recorded: RequestSpec, *, balance: int = 50_000) -> World:
    """Two shops, the other one cheaper, and a request that waits."""
    shops = [Shop("shop.example", PRICE), Shop("other.example", PRICE - 300)]
    world = World(shops, rng=Random(1), skip_rate=0.0)  # noqa: S311
    world.launch("agent", balance=balance, allowance=20_000, tx_limit=10)
    await sleep_ms(100_000)
    await world.ledger.requests.accept("agent", recorded, 1.0, 10)
    return world


async def ended(world: World, order: PaymentOrder) -> RequestResult:
    """The end of the request that this order starts."""
    shell = Shell(world, Activities.over(world), order)
    result = await asyncio.wait_for(shell.run(), PATIENCE_S)
    assert shell.mistakes == []
    return result


def where(world: World, kind: str) -> list[object]:
    """The URLs at which that happened, in order."""
    return [event.facts["url"] for event in world.trace.events if event.kind == kind]


# An order that says something else than the ledger


class OtherAnswers(SimSeller):
    """The shop of that host answers that, when it is asked without a payment."""

    def __init__(self, world: World, plain: UnpaidReply, host: str = "other.example") -> None:
        super().__init__([till.shop for till in world.seller.tills.values()], world.chain)
        self._says, self._host = plain, host

    def _plain(self, shop: Shop) -> UnpaidReply:
        return self._says if shop.host == self._host else super()._plain(shop)


GIFT = UnpaidReply(reply=Reply(http_status=200, content_type="text/plain", body=b"a gift"))
NOT_FOUND, AWAY = (UnpaidReply(reply=Reply(http_status=status)) for status in (404, 503))
MALFORMED = UnpaidReply(
    reply=Reply(http_status=402), challenge=Refused(reason=RefusalReason.OFFER_MALFORMED, message="no option")
)


@pytest.mark.parametrize(
    ("ordered", "plain"),
    [
        pytest.param(spec(OTHER_URL), None, id="another-url-that-can-be-paid"),
        pytest.param(spec(OTHER_URL, max_price_atomic=1), None, id="another-url-that-is-too-dear"),
        pytest.param(spec(OTHER_URL), GIFT, id="another-url-that-is-free"),
        pytest.param(spec(OTHER_URL), NOT_FOUND, id="another-url-that-is-not-there"),
        pytest.param(spec(OTHER_URL), MALFORMED, id="another-url-whose-offer-is-malformed"),
        pytest.param(spec(OTHER_URL), AWAY, id="another-url-that-is-overloaded"),
        pytest.param(spec("https://nobody.example/data"), None, id="another-url-where-nobody-is"),
        pytest.param(spec(max_price_atomic=5 * PRICE), None, id="a-higher-maximum"),
        pytest.param(spec(max_price_atomic=1), None, id="a-maximum-below-the-price"),
        pytest.param(spec(method="POST"), None, id="another-method"),
    ],
)
def test_what_the_ledger_has_is_asked_for_and_paid_whatever_the_order_says(
    ordered: RequestSpec, plain: UnpaidReply | None
) -> None:
    async def story() -> None:
        world = await calm_world(spec(max_price_atomic=PRICE))
        if plain is not None:
            world.seller = OtherAnswers(world, plain)
        result = await ended(world, order_of(ordered))
        assert (result.status, result.price_atomic) == (RequestStatus.DELIVERED, PRICE)
        assert where(world, "asked")[-1] == URL
        assert len(where(world, "asked")) <= 2
        assert where(world, "handed") == [URL]
        (attempt,) = world.ledger.store.attempts.values()
        assert attempt.status == "VERIFIED"
        assert [(each.amount, each.error) for each in world.chain.transactions] == [(PRICE, None)]
        content = await world.ledger.requests.content(KEY)
        assert content is not None
        assert b"shop.example" in content.body

    run_virtually(story())


def test_a_higher_maximum_in_the_order_pays_no_price_above_the_recorded_one() -> None:
    async def story() -> None:
        world = await calm_world(spec(max_price_atomic=PRICE - 1))
        result = await ended(world, order_of(spec(max_price_atomic=5 * PRICE)))
        assert (result.status, result.error and result.error.type) == (RequestStatus.REFUSED, "price_above_maximum")
        assert (where(world, "asked"), where(world, "handed")) == ([URL, URL], [])
        assert not world.ledger.store.attempts

    run_virtually(story())


def test_an_order_that_is_what_the_ledger_has_asks_once_and_sends_once() -> None:
    async def story() -> None:
        world = await calm_world(spec())
        assert (await ended(world, order_of(spec()))).status is RequestStatus.DELIVERED
        assert (where(world, "asked"), where(world, "handed")) == ([URL], [URL])
        (attempt,) = world.ledger.store.attempts.values()
        assert (attempt.status, attempt.sends) == ("VERIFIED", 1)

    run_virtually(story())


# The content is here: what is left is to see that it is paid for


class Claims(SimSeller):
    """Delivers at once with a receipt that names what `claim` returns; the payment lands if it `settles`."""

    def __init__(self, world: World, claim: Callable[[World, Payment], str], *, settles: bool = True) -> None:
        super().__init__([till.shop for till in world.seller.tills.values()], world.chain)
        self._world, self._claim, self._settles = world, claim, settles

    async def _serve(self, till: Till, payment: Payment) -> Reply:
        claim = self._claim(self._world, payment)
        if self._settles:
            till.broadcast(payment, 0)
        return till.content(payment, Receipt(success=True, transaction=claim))


async def bought(world: World, activities: Activities) -> SignedAttempt:
    """The first attempt, whose content is here."""
    order = order_of(spec())
    challenge = await activities.fetch.fetch(order)
    assert challenge.kind == "challenge"
    offer = await activities.parse.parse(order, challenge)
    assert isinstance(offer, Offer)
    signed = await activities.sign.sign(SignInput(order=order, number=1, offer=offer, challenge=challenge))
    assert isinstance(signed, SignedAttempt)
    answer = await ENVIRONMENT.run(activities.submit.submit, AttemptRef(order=order, number=1))
    assert isinstance(answer, Content)
    assert answer.final_in_ms > 0
    return signed


def only_attempt(world: World) -> AttemptEntry:
    """Of the request that all stories are about."""
    (attempt,) = world.ledger.store.requests[KEY].attempts
    return attempt


async def verdict(activities: Activities, *, closing: bool) -> Verdict:
    return await activities.verify.verify(AttemptRef(order=order_of(spec()), number=1, closing=closing))


@pytest.mark.parametrize("worker", ["the same", "another"])
def test_what_settled_is_booked_by_the_step_that_ends_the_request(worker: str) -> None:
    async def story() -> None:
        world = await calm_world(spec())
        activities = Activities.over(world)
        signed = await bought(world, activities)
        await sleep_ms(FINAL_MS)
        found = await verdict(activities if worker == "the same" else Activities.over(world), closing=True)
        assert isinstance(found, Settled)
        assert found.settlement.signature == world.chain.transactions[-1].signature
        attempt, request = only_attempt(world), world.ledger.store.requests[KEY]
        assert (attempt.status, attempt.slot, request.closed) == ("SUCCESS", None, False)
        result = (await world.ledger.requests.result(KEY)).model_copy(update={"status": RequestStatus.DELIVERED})
        settled = SettledAttempt(attempt_id=signed.attempt_id, settlement=found.settlement)
        notice = Notice(request_id="one", status=RequestStatus.DELIVERED, final=True)
        await activities.log.log(LogInput(order=order_of(spec()), result=result, settled=settled, notice=notice))
        landed = world.chain.transactions[-1]
        assert (attempt.status, attempt.slot, request.closed) == ("VERIFIED", landed.slot, True)

    run_virtually(story())


def test_what_settled_is_booked_at_once_when_the_content_is_not_here() -> None:
    async def story() -> None:
        world = await calm_world(spec())
        activities = Activities.over(world)
        await bought(world, activities)
        await sleep_ms(FINAL_MS)
        assert isinstance(await verdict(activities, closing=False), Settled)
        assert only_attempt(world).status == "VERIFIED"

    run_virtually(story())


def test_a_true_claim_is_not_believed_before_it_is_final() -> None:
    async def story() -> None:
        world = await calm_world(spec())
        activities = Activities.over(world)
        await bought(world, activities)
        assert isinstance(await verdict(activities, closing=True), Seen)
        assert only_attempt(world).status == "SUCCESS"

    run_virtually(story())


def a_made_up_one(world: World, payment: Payment) -> str:
    return digest("made up")


def one_of_another_payment(world: World, payment: Payment) -> str:
    return world.chain.transactions[0].signature


def the_buyers_signature(world: World, payment: Payment) -> str:
    return str(payment["signature"])


CLAIMS = [a_made_up_one, one_of_another_payment, the_buyers_signature]


async def after_another_payment(claim: Callable[[World, Payment], str], *, settles: bool) -> World:
    """A seller that claims that, and has been paid before by the same account, the same amount, finally."""
    world = await calm_world(spec())
    earlier = RequestSpec(request_id="earlier", url=URL)
    await world.ledger.requests.accept("agent", earlier, 1.0, 10)
    key = x402_request_id("agent", "earlier")
    await ended(world, PaymentOrder(agent="agent", request_id="earlier", request_key=key, url=URL, accepted=earlier))
    world.seller = Claims(world, claim, settles=settles)
    return world


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_false_claim_is_not_believed_and_the_payment_is_searched_for(claim: Callable[[World, Payment], str]) -> None:
    async def story() -> None:
        world = await after_another_payment(claim, settles=True)
        activities = Activities.over(world)
        await bought(world, activities)
        await sleep_ms(FINAL_MS - 1_000)
        found = await verdict(activities, closing=True)
        assert isinstance(found, Settled)
        assert found.settlement.signature == transaction_id(only_attempt(world).signed.message_hash)
        assert found.settlement.signature == world.chain.transactions[-1].signature

    run_virtually(story())


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_false_claim_makes_nothing_settled_that_never_landed(claim: Callable[[World, Payment], str]) -> None:
    async def story() -> None:
        world = await after_another_payment(claim, settles=False)
        activities = Activities.over(world)
        await bought(world, activities)
        for _ in range(3):
            await sleep_ms(15_000)
            assert isinstance(await verdict(activities, closing=True), Unknown)
        assert only_attempt(world).slot is None

    run_virtually(story())


# A request that is not signed


class Misbuilds(PlainSigner):
    """Its payment is never what was decided."""

    def sign(self, order: UnsignedPayment, sealed_key: str) -> SignedPayment:
        raise PaymentMisbuilt("amount")


def asks_a_person(world: World) -> None:
    rows = world.ledger.store
    rows.agents["agent"] = rows.agents["agent"].model_copy(update={"phase": Phase.INTERACTIVE.value})


@pytest.mark.parametrize(
    ("recorded", "balance", "status"),
    [
        pytest.param(spec(), PRICE - 1, "refused", id="too-poor"),
        pytest.param(spec(max_price_atomic=PRICE - 1), 50_000, "refused", id="too-dear"),
    ],
)
def test_a_request_that_is_refused_keeps_what_its_seller_asked(
    recorded: RequestSpec, balance: int, status: str
) -> None:
    async def story() -> None:
        world = await calm_world(recorded, balance=balance)
        result = await ended(world, order_of(recorded))
        assert (result.status, result.http_status) == (status, 402)
        assert world.ledger.store.requests[KEY].http_status == 402
        assert not world.ledger.store.attempts

    run_virtually(story())


@pytest.mark.parametrize("balance", [50_000, PRICE - 1], ids=["rich", "too-poor"])
def test_a_request_that_waits_for_a_person_keeps_what_its_seller_asked(balance: int) -> None:
    async def story() -> None:
        world = await calm_world(spec(), balance=balance)
        asks_a_person(world)
        running = asyncio.create_task(Shell(world, Activities.over(world), order_of(spec())).run())
        while not world.ledger.store.approvals:
            await sleep_ms(100)
        await sleep_ms(1_000)
        request = world.ledger.store.requests[KEY]
        assert (request.http_status, request.processed, request.attempts) == (402, True, [])
        running.cancel()

    run_virtually(story())


def test_a_request_whose_seller_asks_for_what_nobody_understands_keeps_that() -> None:
    async def story() -> None:
        world = await calm_world(spec())
        world.seller = OtherAnswers(world, MALFORMED, "shop.example")
        result = await ended(world, order_of(spec()))
        assert (result.status, result.error and result.error.type) == (RequestStatus.REFUSED, "offer_malformed")
        assert world.ledger.store.requests[KEY].http_status == 402

    run_virtually(story())


def test_a_request_whose_payment_cannot_be_built_pays_nothing_and_keeps_what_its_seller_asked() -> None:
    async def story() -> None:
        world = await calm_world(spec())
        world.signer = Misbuilds(world.vault)
        result = await ended(world, order_of(spec()))
        assert (result.status, result.error and result.error.type) == (RequestStatus.FAILED, "payment_misbuilt")
        assert world.ledger.store.requests[KEY].http_status == 402
        assert not world.ledger.store.attempts
        assert not world.chain.transactions

    run_virtually(story())
