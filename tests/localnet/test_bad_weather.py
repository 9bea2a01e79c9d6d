"""Payments while a stand-in misbehaves: what the buyer sees, and what the chain knows."""

import httpx
import pytest

from localnet.chain.genesis import CASH_MINT, USDC_MINT
from tests.localnet.buyer import Buyer, offer_of, receipt_of
from tests.localnet.stack import Stack, until


async def test_a_price_factor_changes_the_offers_of_both_versions(stack: Stack) -> None:
    await stack.weather(stack.market_url, price_factor=1.5)
    async with httpx.AsyncClient() as client:
        v2 = offer_of(await client.get(f"{stack.market_url}/api/market-feed"))
        v1 = (await client.get(f"{stack.market_url}/v1/api/market-feed")).json()
        other = offer_of(await client.get(f"{stack.knowledge_url}/api/ai-insights?topic=fees"))
    assert [entry.amount for entry in v2.accepts] == ["1500", "1800"]
    assert [entry["maxAmountRequired"] for entry in v1["accepts"]] == ["1500", "1800"]
    assert [entry.amount for entry in other.accepts] == ["2000", "2400"]


async def test_a_changed_price_is_what_is_paid(stack: Stack, buyer: Buyer) -> None:
    await stack.weather(stack.market_url, price_factor=3)
    async with buyer.http(CASH_MINT) as client:
        receipt = receipt_of(await client.get(f"{stack.market_url}/api/market-feed"))
    landed = await buyer.landed(receipt.transaction)
    assert landed.gains[str(buyer.accounts[CASH_MINT])] == -3_600


async def test_a_payment_for_the_old_price_gets_a_new_offer_and_is_not_settled(stack: Stack, buyer: Buyer) -> None:
    url = f"{stack.market_url}/api/market-feed"
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with httpx.AsyncClient() as client:
        paid = await buyer.signed(await client.get(url))
        await stack.weather(stack.market_url, price_factor=2)
        offer = offer_of(await client.get(url, headers=paid))
    assert offer.error == "No matching payment requirements"
    assert offer.accepts[0].amount == "2000"
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before


async def test_an_error_rate_of_one_fails_before_anything_is_settled(stack: Stack, buyer: Buyer) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights?topic=fees"
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with httpx.AsyncClient() as client:
        paid = await buyer.signed(await client.get(url))
        await stack.weather(stack.knowledge_url, error_rate=1)
        assert (await client.get(url, headers=paid)).status_code == 500
        assert await stack.balance(buyer.accounts[USDC_MINT]) == before
        await stack.weather(stack.knowledge_url)
        assert (await client.get(url, headers=paid)).status_code == 200
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 2_000


@pytest.mark.parametrize("prefix", ["", "/v1"], ids=["v2", "v1"])
async def test_a_lost_answer_leaves_a_settled_payment(stack: Stack, buyer: Buyer, prefix: str) -> None:
    url = f"{stack.market_url}{prefix}/api/market-feed"
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with httpx.AsyncClient(timeout=30) as client:
        paid = await buyer.signed(await client.get(url))
        await stack.weather(stack.market_url, lose_answers=1)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(url, headers=paid)
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 1_000


async def test_a_receipt_that_the_seller_lost_is_a_failure_without_a_transaction_that_was_settled(
    stack: Stack, buyer: Buyer
) -> None:
    url = f"{stack.market_url}/api/market-feed"
    async with httpx.AsyncClient(timeout=30) as client:
        for _ in range(60):  # in one of four the verdict arrives and the receipt is lost
            before = await stack.balance(buyer.accounts[USDC_MINT])
            paid = await buyer.signed(await client.get(url))
            await stack.weather(stack.facilitator_url, lose_answers=0.5)
            answer = await client.get(url, headers=paid)
            await stack.weather(stack.facilitator_url)
            if answer.status_code == 402 and "payment-response" in answer.headers:
                break
    receipt = receipt_of(answer)
    assert (receipt.success, receipt.transaction) == (False, "")
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 1_000


async def test_a_facilitator_out_of_service_costs_nothing(stack: Stack, buyer: Buyer) -> None:
    before = await stack.balance(buyer.accounts[USDC_MINT])
    await stack.weather(stack.facilitator_url, outage=True)
    async with buyer.http(USDC_MINT) as client:
        for prefix in ("", "/v1"):
            refused = await client.get(f"{stack.market_url}{prefix}/api/market-feed")
            assert refused.status_code == 402
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before


async def test_a_buyer_who_hangs_up_has_paid_all_the_same(stack: Stack, buyer: Buyer) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights?topic=fees"
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with httpx.AsyncClient() as client:
        paid = await buyer.signed(await client.get(url))
        await stack.weather(stack.facilitator_url, latency_ms=200)
        with pytest.raises(httpx.ReadTimeout):
            await client.get(url, headers=paid, timeout=0.1)

        async def charged() -> bool:
            return await stack.balance(buyer.accounts[USDC_MINT]) == before - 2_000

        await until(charged, "the payment is settled")
