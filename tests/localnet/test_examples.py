"""The seller and the facilitator of `docs/bring-your-own-seller.md`, run as that page says."""

from pathlib import Path

import httpx
from solders.keypair import Keypair

from localnet.chain.genesis import USDC_MINT
from localnet.tokens import LAMPORTS_PER_SOL, airdrop, faucet
from tests.localnet.buyer import Buyer, offer_of, receipt_of
from tests.localnet.stack import Service, Stack, free_port

PRICE = 2_000


async def test_a_seller_settles_through_a_facilitator_of_its_own(stack: Stack, buyer: Buyer, tmp_path: Path) -> None:
    key, payee = Keypair(), Keypair().pubkey()
    key_file = tmp_path / "facilitator.json"
    key_file.write_text(key.to_json())
    await airdrop(stack.rpc_url, key.pubkey(), LAMPORTS_PER_SOL)
    account = await faucet(stack.rpc_url, payee, USDC_MINT, 0)
    ports = free_port(), free_port()
    facilitator_url, seller_url = (f"http://127.0.0.1:{port}" for port in ports)
    running = [
        Service(
            tmp_path,
            "docs.examples.facilitator",
            *("--rpc", stack.rpc_url, "--key", str(key_file), "--port", str(ports[0])),
        )
    ]
    try:
        await running[0].wait_for(f"{facilitator_url}/supported")
        options = ("--facilitator", facilitator_url, "--pay-to", str(payee), "--port", str(ports[1]))
        running.append(Service(tmp_path, "docs.examples.seller", *options))
        await running[1].wait_for(f"{seller_url}/openapi.json")
        async with httpx.AsyncClient() as client:
            offer = offer_of(await client.get(f"{seller_url}/weather"))
        assert [(each.amount, each.extra["feePayer"]) for each in offer.accepts] == [(str(PRICE), str(key.pubkey()))]
        async with buyer.http(USDC_MINT) as client:
            bought = await client.get(f"{seller_url}/weather")
        assert (bought.status_code, bought.json()["weather"]) == (200, "sunny")
        assert receipt_of(bought).success
        assert await stack.balance(account) == PRICE
    finally:
        for service in running:
            service.stop()
