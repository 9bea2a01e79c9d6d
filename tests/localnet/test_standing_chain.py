"""A chain that confirms nothing: payments that were broadcast and are neither settled nor dead."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from solana.rpc.commitment import Commitment, Confirmed, Processed
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.utils import decode_payment_signature_header
from x402.schemas import PaymentPayload

from localnet.chain.genesis import USDC_MINT
from tests.localnet.buyer import Buyer
from tests.localnet.stack import Service, Stack, free_port, until

PATIENCE_MS = 300


@pytest.fixture
async def impatient(stack: Stack, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of a second facilitator with the key of the first, which does not wait long."""
    port = free_port()
    service = Service(
        tmp_path,
        "localnet.facilitator",
        *("--rpc", stack.rpc_url, "--port", str(port), "--home", str(stack.home)),
        *("--poll-ms", "10", "--patience-ms", str(PATIENCE_MS)),
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await service.wait_for(f"{url}/health")
        yield url
    finally:
        assert service.stop() == 0


async def _payment(stack: Stack, buyer: Buyer) -> PaymentPayload:
    async with httpx.AsyncClient() as client:
        signed = await buyer.signed(await client.get(f"{stack.market_url}/api/market-feed"))
    payment = decode_payment_signature_header(signed["PAYMENT-SIGNATURE"])
    assert isinstance(payment, PaymentPayload)
    return payment


async def test_a_payment_not_confirmed_in_time_is_pending_and_settles_later_under_the_same_signature(
    stack: Stack, buyer: Buyer, impatient: str
) -> None:
    payment = await _payment(stack, buyer)
    before = await stack.balance(buyer.accounts[USDC_MINT])
    async with HTTPFacilitatorClient(FacilitatorConfig(url=impatient)) as client:
        await stack.weather(stack.rpc_url, stand_still=True)
        pending = await client.settle(payment, payment.accepted)
        assert (pending.success, pending.error_reason) == (False, "settlement_pending")
        assert pending.transaction
        await stack.weather(stack.rpc_url)
        settled = await client.settle(payment, payment.accepted)
    assert settled.success
    assert settled.transaction == pending.transaction
    assert await stack.balance(buyer.accounts[USDC_MINT]) == before - 1_000


async def test_a_facilitator_that_is_stopped_reports_what_it_waits_for_as_pending_and_it_lands(
    stack: Stack, buyer: Buyer, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ("--rpc", stack.rpc_url, "--port", str(port), "--home", str(stack.home))
    service = Service(tmp_path, "localnet.facilitator", *arguments)
    await service.wait_for(f"{url}/health")
    payment = await _payment(stack, buyer)
    before = await stack.balance(buyer.accounts[USDC_MINT])

    async def charged(commitment: Commitment = Confirmed) -> bool:
        return await stack.balance(buyer.accounts[USDC_MINT], commitment) == before - 1_000

    await stack.weather(stack.rpc_url, stand_still=True)
    async with HTTPFacilitatorClient(FacilitatorConfig(url=url)) as client:
        settling = asyncio.create_task(client.settle(payment, payment.accepted))
        await until(partial(charged, Processed), "the broadcast")
        assert await asyncio.to_thread(service.stop) == 0
        pending = await settling
    assert (pending.success, pending.error_reason) == (False, "settlement_pending")
    await stack.weather(stack.rpc_url)

    await until(charged, "the payment lands")
    landed = await buyer.landed(pending.transaction)
    assert landed.error is None
