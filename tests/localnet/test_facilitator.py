"""The facilitator's HTTP interface, through the SDK's own client and without it."""

import json
import stat
from typing import Any

import httpx
import pytest
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.utils import decode_payment_signature_header
from x402.schemas import PaymentPayload

from localnet.chain.genesis import USDC_MINT
from tests.localnet.buyer import Buyer
from tests.localnet.stack import Stack

DEVNET = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
MAINNET = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"


async def _payment(stack: Stack, buyer: Buyer) -> PaymentPayload:
    async with httpx.AsyncClient() as client:
        offered = await client.get(f"{stack.market_url}/api/market-feed")
    payment = decode_payment_signature_header((await buyer.signed(offered))["PAYMENT-SIGNATURE"])
    assert isinstance(payment, PaymentPayload)
    return payment


def _body(payment: PaymentPayload, **changes: Any) -> dict[str, Any]:
    requirements = payment.accepted.model_dump(by_alias=True)
    return {
        "x402Version": 2,
        "paymentPayload": payment.model_dump(by_alias=True),
        "paymentRequirements": {**requirements, **changes},
    }


async def test_it_supports_exact_on_devnet_in_both_versions_with_one_fee_payer(stack: Stack) -> None:
    async with httpx.AsyncClient() as client:
        supported = (await client.get(f"{stack.facilitator_url}/supported")).json()
        fee_payer = (await client.get(f"{stack.facilitator_url}/health")).json()["feePayer"]
    assert supported["kinds"] == [
        {"x402Version": 2, "scheme": "exact", "network": DEVNET, "extra": {"feePayer": fee_payer}},
        {"x402Version": 1, "scheme": "exact", "network": "solana-devnet", "extra": {"feePayer": fee_payer}},
    ]
    assert supported["signers"] == {"solana:*": [fee_payer]}


async def test_its_key_is_a_solana_cli_key_that_only_its_owner_reads(stack: Stack) -> None:
    for name in ("facilitator", "market", "knowledge"):
        file = stack.home / f"{name}.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert len(json.loads(file.read_text())) == 64


async def test_a_payment_verifies_and_settles_once(stack: Stack, buyer: Buyer) -> None:
    payment = await _payment(stack, buyer)
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with HTTPFacilitatorClient(FacilitatorConfig(url=stack.facilitator_url)) as client:
        verdict = await client.verify(payment, payment.accepted)
        assert (verdict.is_valid, verdict.payer) == (True, str(buyer.keypair.pubkey()))
        settled = await client.settle(payment, payment.accepted)
        assert settled.success
        again = await client.settle(payment, payment.accepted)
    assert not again.success
    assert again.transaction == ""
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 1_000


async def test_a_payment_below_the_price_is_invalid(stack: Stack, buyer: Buyer) -> None:
    body = _body(await _payment(stack, buyer), amount="1001")
    async with httpx.AsyncClient(base_url=stack.facilitator_url) as client:
        verdict = await client.post("/verify", json=body)
        settled = await client.post("/settle", json=body)
    assert (verdict.status_code, settled.status_code) == (200, 200)
    assert verdict.json()["isValid"] is False
    assert verdict.json()["invalidReason"] == "invalid_exact_svm_payload_amount_insufficient"
    assert (settled.json()["success"], settled.json()["transaction"]) == (False, "")


async def test_another_network_is_unsupported(stack: Stack, buyer: Buyer) -> None:
    body = _body(await _payment(stack, buyer), network=MAINNET)
    body["paymentPayload"]["accepted"]["network"] = MAINNET
    async with httpx.AsyncClient(base_url=stack.facilitator_url) as client:
        verdict = (await client.post("/verify", json=body)).json()
        settled = (await client.post("/settle", json=body)).json()
    assert (verdict["isValid"], verdict["invalidReason"]) == (False, "unsupported_scheme")
    assert (settled["success"], settled["errorReason"]) == (False, "unsupported_scheme")


async def test_terms_that_cannot_be_read_still_get_a_verdict(stack: Stack, buyer: Buyer) -> None:
    body = _body(await _payment(stack, buyer), payTo="nobody")
    async with httpx.AsyncClient(base_url=stack.facilitator_url) as client:
        verdict = await client.post("/verify", json=body)
        settled = await client.post("/settle", json=body)
    assert (verdict.status_code, verdict.json()["isValid"]) == (200, False)
    assert (settled.status_code, settled.json()["success"]) == (200, False)


@pytest.mark.parametrize("body", ["", "hail", "[]", "{}", '{"paymentPayload": {}, "paymentRequirements": {}}'])
async def test_a_malformed_request_is_the_callers_mistake(stack: Stack, body: str) -> None:
    async with httpx.AsyncClient(base_url=stack.facilitator_url) as client:
        for path in ("/verify", "/settle"):
            assert (await client.post(path, content=body)).status_code in (400, 422)
