"""The extension payment-identifier: the same payment under the same identifier is answered once."""

import asyncio
import secrets

import httpx
import pytest
from fastapi import FastAPI, Response
from x402.http.utils import encode_payment_response_header
from x402.schemas import SettleResponse

from localnet.chain.genesis import USDC_MINT
from localnet.sellers.remembered import RememberedAnswers
from tests.localnet.buyer import Buyer
from tests.localnet.stack import Stack


@pytest.fixture
def identifier() -> str:
    return f"pay_{secrets.token_hex(16)}"


async def test_the_same_payment_again_gets_the_same_answer_and_receipt_for_nothing(
    stack: Stack, buyer: Buyer, identifier: str
) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights"
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with httpx.AsyncClient(timeout=30) as client:
        question = {"question": "Why do spreads close?"}
        paid = await buyer.signed(await client.post(url, json=question), identifier=identifier)
        first = await client.post(url, json=question, headers=paid)
        again = await client.post(url, json=question, headers=paid)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert again.headers["PAYMENT-RESPONSE"] == first.headers["PAYMENT-RESPONSE"]
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 5_000


async def test_another_payment_under_a_used_identifier_conflicts_and_is_not_settled(
    stack: Stack, buyer: Buyer, identifier: str
) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights?topic=fees"
    async with httpx.AsyncClient(timeout=30) as client:
        offer = await client.get(url)
        first = await buyer.signed(offer, identifier=identifier)
        second = await buyer.signed(offer, identifier=identifier)
        assert (await client.get(url, headers=first)).status_code == 200
        before = await stack.balance(buyer.accounts[USDC_MINT])
        conflict = await client.get(url, headers=second)
    assert conflict.status_code == 409
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before


async def test_the_same_payment_for_another_question_conflicts(stack: Stack, buyer: Buyer, identifier: str) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights"
    async with httpx.AsyncClient(timeout=30) as client:
        paid = await buyer.signed(await client.post(url, json={"question": "fees?"}), identifier=identifier)
        assert (await client.post(url, json={"question": "fees?"}, headers=paid)).status_code == 200
        assert (await client.post(url, json={"question": "risk?"}, headers=paid)).status_code == 409


async def test_the_same_payment_sent_many_times_at_once_is_settled_once(
    stack: Stack, buyer: Buyer, identifier: str
) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights?topic=agents"
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with httpx.AsyncClient(timeout=30) as client:
        paid = await buyer.signed(await client.get(url), identifier=identifier)
        answers = await asyncio.gather(*(client.get(url, headers=paid) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["PAYMENT-RESPONSE"] for answer in answers}) == 1
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 2_000


async def test_an_answer_lost_on_its_way_can_be_fetched_again(stack: Stack, buyer: Buyer, identifier: str) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights?topic=liquidity"
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with httpx.AsyncClient(timeout=30) as client:
        paid = await buyer.signed(await client.get(url), identifier=identifier)
        await stack.weather(stack.knowledge_url, lose_answers=1)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url, headers=paid)
        await stack.weather(stack.knowledge_url)
        fetched = await client.get(url, headers=paid)
    assert fetched.status_code == 200
    assert fetched.json()["topic"] == "liquidity"
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 2_000


async def test_an_attempt_that_was_never_broadcast_leaves_its_identifier_free(
    stack: Stack, buyer: Buyer, identifier: str
) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights?topic=fees"
    async with httpx.AsyncClient(timeout=30) as client:
        offer = await client.get(url)
        first = await buyer.signed(offer, identifier=identifier)
        second = await buyer.signed(offer, identifier=identifier)
        await stack.weather(stack.facilitator_url, outage=True)
        assert (await client.get(url, headers=first)).status_code == 402
        await stack.weather(stack.facilitator_url)
        assert (await client.get(url, headers=second)).status_code == 200


async def test_without_an_identifier_every_payment_stands_alone(stack: Stack, buyer: Buyer) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights?topic=fees"
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with httpx.AsyncClient(timeout=30) as client:
        for _ in range(2):
            paid = await buyer.signed(await client.get(url))
            assert (await client.get(url, headers=paid)).status_code == 200
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 4_000


class Pending:
    """A seller whose every payment was broadcast and is not confirmed; counts what reaches it."""

    def __init__(self) -> None:
        self.reached = 0
        self.app = FastAPI()
        self.app.middleware("http")(RememberedAnswers())
        self.app.get("/data")(self.data)

    async def data(self) -> Response:
        self.reached += 1
        receipt = SettleResponse(
            success=False, error_reason="settlement_pending", transaction="5igned", network="solana:devnet"
        )
        return Response(status_code=402, headers={"PAYMENT-RESPONSE": encode_payment_response_header(receipt)})


async def test_a_payment_that_is_pending_binds_its_identifier_and_may_be_sent_again(
    stack: Stack, buyer: Buyer, identifier: str
) -> None:
    async with httpx.AsyncClient() as client:
        offer = await client.get(f"{stack.knowledge_url}/api/ai-insights?topic=fees")
    first = await buyer.signed(offer, identifier=identifier)
    second = await buyer.signed(offer, identifier=identifier)
    seller = Pending()
    transport = httpx.ASGITransport(app=seller.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://seller") as client:
        statuses = [(await client.get("/data", headers=paid)).status_code for paid in (first, first, second)]
    assert statuses == [402, 402, 409]
    assert seller.reached == 2
