"""Other people's buyers, timed: a program that runs in an environment of its own, which has nothing of ours.

`python rival.py --client x402|pay-kit --url URL --rpc URL --key FILE --count N --at-once N` prints one JSON line: the
seconds that each purchase took, and that all took together.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 120
CONNECTIONS = 64


@asynccontextmanager
async def x402_client(rpc_url: str, secret: bytes) -> AsyncIterator[Any]:
    """The official SDK's client over httpx."""
    import httpx  # noqa: PLC0415 - each client in an environment without the other
    from solders.keypair import Keypair  # noqa: PLC0415
    from x402 import x402Client  # noqa: PLC0415
    from x402.http.clients.httpx import wrapHttpxWithPayment  # noqa: PLC0415
    from x402.mechanisms.svm import KeypairSigner  # noqa: PLC0415
    from x402.mechanisms.svm.exact.register import register_exact_svm_client  # noqa: PLC0415

    payer = register_exact_svm_client(x402Client(), KeypairSigner(Keypair.from_bytes(secret)), rpc_url=rpc_url)
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    async with wrapHttpxWithPayment(payer, limits=limits, timeout=TIMEOUT_S, trust_env=False) as client:
        yield client


@asynccontextmanager
async def pay_kit_client(rpc_url: str, secret: bytes) -> AsyncIterator[Any]:
    """The client of `solana-pay-kit`."""
    import httpx  # noqa: PLC0415
    from solana_pay_kit._paycore.rpc import SolanaRpc  # noqa: PLC0415
    from solana_pay_kit.client import PayKitClient  # noqa: PLC0415
    from solana_pay_kit.signer import Signer  # noqa: PLC0415

    rpc = SolanaRpc(rpc_url, timeout=TIMEOUT_S)
    limits = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    builder = PayKitClient.builder().signer(Signer.bytes(secret)).rpc(rpc).network("devnet").accept(["x402"])
    transport = httpx.AsyncHTTPTransport(limits=limits)
    async with builder.base_transport(transport).httpx_options(timeout=TIMEOUT_S).build() as client:
        yield client
    await rpc.aclose()


CLIENTS = {"x402": x402_client, "pay-kit": pay_kit_client}


async def buy_all(client: Any, url: str, count: int, at_once: int) -> dict[str, Any]:
    """Buy that often, so many at once; the first purchase, which makes connections, is not counted."""
    slots = asyncio.Semaphore(at_once)

    async def buy() -> float:
        async with slots:
            began = time.perf_counter()
            answer = await client.get(url)
            answer.raise_for_status()
            return time.perf_counter() - began

    await buy()
    began = time.perf_counter()
    took = await asyncio.gather(*(buy() for _ in range(count)))
    return {"took_s": took, "all_s": time.perf_counter() - began}


async def main(given: argparse.Namespace) -> None:
    """Buy, and print."""
    secret = bytes(json.loads(given.key.read_text()))
    async with CLIENTS[given.client](given.rpc, secret) as client:
        measured = await buy_all(client, given.url, given.count, given.at_once)
    sys.stdout.write(json.dumps(measured) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--client", choices=CLIENTS, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--rpc", required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--at-once", type=int, required=True)
    asyncio.run(main(parser.parse_args()))
