"""Facilitators that the operator names: any of them may settle, and one that is away does not stop the others."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from temporalio.testing import ActivityEnvironment
from x402.http.utils import safe_base64_encode

from activities.parse import ParseStep
from autopay.adapters.x402 import facilitator
from autopay.adapters.x402.facilitator import HttpFacilitators
from autopay.domain.errors import FacilitatorUnavailable
from autopay.domain.money import Currency
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.ports import FeePayers
from autopay.domain.payment.steps import ParseResult, PaymentOrder
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import RequestSpec, x402_request_id
from tests.unit.test_signer import ACCEPTED, order, signed
from tests.unit.till import Till
from tests.world.shop import MINT, NETWORK, Shop, address
from tests.world.world import World

ANOTHER = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"
OURS = ACCEPTED["extra"]["feePayer"]
NOBODY = "http://127.0.0.1:9"
"""Where nothing listens."""


SAYS_NO = {"isValid": False, "invalidReason": "insufficient_funds"}


@asynccontextmanager
async def serving(fee_payer: str, verdict: object = None) -> AsyncIterator[Till]:
    """A facilitator with that fee payer, which answers /verify with that verdict."""
    till = Till()
    kind = {"x402Version": 2, "scheme": "exact", "network": "solana:x", "extra": {"feePayer": fee_payer}}
    supported = {"kinds": [kind], "extensions": [], "signers": {}}

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = json.dumps(supported if b"/supported" in till.asked[-1] else verdict).encode()
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()

    async with till.open(script):
        yield till


@asynccontextmanager
async def asking(*urls: str, verifies: bool = False) -> AsyncIterator[HttpFacilitators]:
    found = HttpFacilitators(urls, verifies=verifies)
    yield found
    await found.close()


def payment() -> bytes:
    _, content, _ = signed(order())
    return safe_base64_encode(json.dumps(content)).encode()


async def test_fee_payers_of_all_facilitators_are_accepted() -> None:
    async with serving(OURS) as one, serving(ANOTHER) as other, asking(url(one), url(other)) as facilitators:
        assert await facilitators.fee_payers() == FeePayers(frozenset({OURS, ANOTHER}))


async def test_one_that_is_away_is_named_and_does_not_hide_the_others() -> None:
    async with serving(OURS) as one, asking(NOBODY, url(one)) as facilitators:
        assert await facilitators.fee_payers() == FeePayers(frozenset({OURS}), ("127.0.0.1:9",))


async def test_one_that_went_away_is_still_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facilitator, "KEEP_S", 0)
    async with serving(OURS) as one:
        facilitators = HttpFacilitators([url(one)])
        await facilitators.fee_payers()
    assert await facilitators.fee_payers() == FeePayers(frozenset({OURS}), (f"127.0.0.1:{one.port}",))
    await facilitators.close()


async def test_a_payment_is_verified_by_the_facilitator_of_its_fee_payer_alone() -> None:
    async with serving(OURS, SAYS_NO) as one, serving(ANOTHER) as other:
        async with asking(url(other), NOBODY, url(one), verifies=True) as facilitators:
            assert await facilitators.objection(payment()) == "insufficient_funds"
        assert len(other.asked) == 1


async def test_a_verdict_that_cannot_be_had_is_a_transient_fault() -> None:
    async with asking(NOBODY, verifies=True) as facilitators:
        with pytest.raises(FacilitatorUnavailable, match=r"127\.0\.0\.1:9"):
            await facilitators.objection(payment())


async def test_nothing_is_asked_unless_a_second_opinion_is_wanted() -> None:
    async with asking(NOBODY) as facilitators:
        assert await facilitators.objection(payment()) is None


def url(till: Till) -> str:
    return f"http://127.0.0.1:{till.port}"


async def parsed(*urls: str) -> ParseResult:
    """What the step agrees to with a seller whose facilitator is the simulation's."""
    shop = Shop("shop.example", 1_000)
    world = World([shop], rng=Random(1))  # noqa: S311 - nothing is random here
    world.launch("buyer", balance=100_000, allowance=100_000, tx_limit=9)
    spec = RequestSpec(request_id="r", url="https://shop.example/data")
    assert await world.ledger.requests.accept("buyer", spec, 1.0, 9) is None
    order = PaymentOrder(
        agent="buyer", request_id="r", request_key=x402_request_id("buyer", "r"), url="https://shop.example/data"
    )
    async with asking(*urls) as facilitators:
        step = ParseStep(
            world.ledger, world.ledger.sessions, NETWORK, {Currency.USDC: MINT}, facilitators if urls else None
        )
        found: ParseResult = await ActivityEnvironment().run(step.parse, order, shop.challenge())
        return found


async def test_without_a_list_the_seller_chooses_its_facilitator() -> None:
    assert isinstance(await parsed(), Offer)


async def test_an_offer_is_agreed_to_through_any_of_the_list_while_another_is_away() -> None:
    async with serving(address("facilitator")) as one:
        assert isinstance(await parsed(NOBODY, url(one)), Offer)


async def test_a_fee_payer_of_none_of_them_is_refused_by_name() -> None:
    async with serving(ANOTHER) as one:
        found = await parsed(url(one))
        assert isinstance(found, Refused)
        assert found.reason == RefusalReason.FEE_PAYER_INVALID
        assert "AUTOPAY_FACILITATOR_URLS" in found.message


async def test_a_fee_payer_that_nobody_knows_yet_is_asked_for_again_and_not_refused() -> None:
    async with serving(ANOTHER) as one:
        with pytest.raises(FacilitatorUnavailable):
            await parsed(url(one), NOBODY)
