"""The official client buys from both sellers, under both protocol versions, in both tokens."""

import hashlib

import httpx
import pytest
from solders.pubkey import Pubkey

from localnet.chain.genesis import CASH_MINT, USDC_MINT
from tests.localnet.buyer import Buyer, offer_of, receipt_of, token_account
from tests.localnet.stack import Stack

QUESTION = "Which fees are worth paying? ¿Y en español?"
MINTS = pytest.mark.parametrize("mint", [USDC_MINT, CASH_MINT], ids=["USDC", "CASH"])
VERSIONS = pytest.mark.parametrize("prefix", ["", "/v1"], ids=["v2", "v1"])
PRICES = {
    "GET /api/market-feed": {USDC_MINT: 1_000, CASH_MINT: 1_200},
    "GET /api/ai-insights?topic=fees": {USDC_MINT: 2_000, CASH_MINT: 2_400},
    "POST /api/ai-insights": {USDC_MINT: 5_000, CASH_MINT: 6_000},
}


async def _send(client: httpx.AsyncClient, stack: Stack, request_line: str, prefix: str) -> httpx.Response:
    method, path = request_line.split()
    base = stack.market_url if "market" in path else stack.knowledge_url
    body = {"question": QUESTION} if method == "POST" else None
    return await client.request(method, f"{base}{prefix}{path}", json=body)


@MINTS
@VERSIONS
@pytest.mark.parametrize("request_line", PRICES)
async def test_a_purchase_is_delivered_and_its_receipt_is_on_the_chain(
    stack: Stack,
    buyer: Buyer,
    mint: Pubkey,
    prefix: str,
    request_line: str,
) -> None:
    before = await stack.balance(buyer.accounts[mint])
    async with buyer.http(mint) as client, httpx.AsyncClient() as free:
        bought = await _send(client, stack, request_line, prefix)
        catalogue = (await free.get(bought.request.url.join("/"))).json()
    assert bought.status_code == 200, bought.text

    price = PRICES[request_line][mint]
    receipt = receipt_of(bought)
    assert receipt.success
    assert receipt.payer == str(buyer.keypair.pubkey())
    assert receipt.network == ("solana-devnet" if prefix else "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1")
    landed = await buyer.landed(receipt.transaction)
    assert landed.error is None
    assert landed.gains == {
        str(buyer.accounts[mint]): -price,
        token_account(catalogue["pay_to"], mint): price,
    }
    assert await stack.balance(buyer.accounts[mint]) == before - price


@VERSIONS
async def test_a_posted_question_reaches_the_handler_whole(stack: Stack, buyer: Buyer, prefix: str) -> None:
    async with buyer.http(USDC_MINT) as client:
        bought = await _send(client, stack, "POST /api/ai-insights", prefix)
    assert bought.json()["question_sha256"] == hashlib.sha256(QUESTION.encode()).hexdigest()
    assert bought.json()["topics"] == ["fees"]


@VERSIONS
@pytest.mark.parametrize("request_line", ["GET /api/ai-insights?topic=astrology", "GET /api/ai-insights"])
async def test_what_cannot_be_answered_is_not_charged(
    stack: Stack, buyer: Buyer, prefix: str, request_line: str
) -> None:
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with buyer.http(USDC_MINT) as client:
        refused = await _send(client, stack, request_line, prefix)
    assert refused.status_code in (404, 422)
    assert not {"PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE"} & {name.upper() for name in refused.headers}
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before


async def test_spent_bytes_do_not_buy_again(stack: Stack, buyer: Buyer) -> None:
    url = f"{stack.market_url}/api/market-feed"
    async with httpx.AsyncClient() as client:
        paid = await buyer.signed(await client.get(url))
        assert (await client.get(url, headers=paid)).status_code == 200
        again = await client.get(url, headers=paid)
    assert again.status_code == 402
    assert offer_of(again).error


async def test_a_buyer_without_money_gets_the_offer_again_with_the_reason(stack: Stack) -> None:
    pauper = Buyer(stack.rpc_url)
    async with pauper.http(USDC_MINT) as client:
        refused = await client.get(f"{stack.market_url}/api/market-feed")
        refused_v1 = await client.get(f"{stack.market_url}/v1/api/market-feed")
    pauper.close()
    assert "simulation" in (offer_of(refused).error or "")
    assert refused_v1.status_code == 402
    assert "simulation" in refused_v1.json()["error"]


@pytest.mark.parametrize("path", ["/health", "/api/status", "/"])
async def test_free_routes_are_free(stack: Stack, path: str) -> None:
    async with httpx.AsyncClient() as client:
        for base in (stack.market_url, stack.knowledge_url):
            assert (await client.get(f"{base}{path}")).status_code == 200


async def test_the_catalogue_names_every_paid_route_with_its_prices(stack: Stack) -> None:
    async with httpx.AsyncClient() as client:
        catalogue = (await client.get(stack.knowledge_url)).json()
    assert [(entry["x402Version"], entry["route"]) for entry in catalogue["paid"]] == [
        (2, "GET /api/ai-insights"),
        (1, "GET /v1/api/ai-insights"),
        (2, "POST /api/ai-insights"),
        (1, "POST /v1/api/ai-insights"),
        (2, "POST /api/chat/completions"),
        (1, "POST /v1/api/chat/completions"),
    ]
    assert [price["amount"] for price in catalogue["paid"][0]["price"]] == ["2000", "2400"]


async def test_a_v2_offer_is_in_the_header_and_asks_for_usdc_or_cash(stack: Stack) -> None:
    url = f"{stack.knowledge_url}/api/ai-insights?topic=fees"
    async with httpx.AsyncClient() as client:
        offer = offer_of(await client.get(url))
    assert offer.x402_version == 2
    assert offer.resource is not None
    assert offer.resource.url == url
    assert [(entry.asset, entry.amount) for entry in offer.accepts] == [
        (str(USDC_MINT), "2000"),
        (str(CASH_MINT), "2400"),
    ]
    assert all(entry.extra["feePayer"] for entry in offer.accepts)
    assert offer.extensions is not None
    assert offer.extensions["payment-identifier"]["info"] == {"required": False}


async def test_a_v1_offer_is_in_the_body_and_names_the_full_url(stack: Stack) -> None:
    url = f"{stack.knowledge_url}/v1/api/ai-insights?topic=fees"
    async with httpx.AsyncClient() as client:
        response = await client.get(url)
    offer = response.json()
    assert response.status_code == 402
    assert "payment-required" not in response.headers
    assert offer["x402Version"] == 1
    assert [(entry["resource"], entry["network"]) for entry in offer["accepts"]] == [(url, "solana-devnet")] * 2
    assert [entry["maxAmountRequired"] for entry in offer["accepts"]] == ["2000", "2400"]


@pytest.mark.parametrize("header", ["", "hail", "e30=", "eyJ4NDAyVmVyc2lvbiI6IDF9", "////", "bnVsbA=="])
async def test_a_header_that_is_no_payment_gets_the_offer_again(stack: Stack, header: str) -> None:
    async with httpx.AsyncClient() as client:
        for base, path in ((stack.market_url, "/api/market-feed"), (stack.knowledge_url, "/api/ai-insights")):
            v2 = await client.get(f"{base}{path}?topic=fees", headers={"PAYMENT-SIGNATURE": header})
            v1 = await client.get(f"{base}/v1{path}?topic=fees", headers={"X-PAYMENT": header})
            assert (v2.status_code, v1.status_code) == (402, 402)
