"""A fast x402 seller that blocks nothing: `python -m benchmarks.payments.seller --port N --rpc URL --key FILE ...`.

Each payment is settled for real: signed as its fee payer and sent to the chain, whose answer is the seller's. The same
payment again gets the same answer. Waits `--delay-ms` before each answer, as a network does.

`GET /data` sells; with `?fault=lost` the first answer to a payment is cut off, with `?fault=busy` it is a 503 before
anything is settled. `GET /counts` says how often it was asked, paid and asked again.
"""

import argparse
import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import uvicorn
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from x402.http.utils import (
    decode_payment_signature_header,
    encode_payment_required_header,
    encode_payment_response_header,
)
from x402.schemas import PaymentPayload, PaymentRequired, PaymentRequirements, ResourceInfo, SettleResponse

from autopay.adapters.solana.owner.key_file import read_key_file
from autopay.domain.network import Network, caip2
from localnet.chain.genesis import USDC_MINT

NETWORK = caip2(Network.DEVNET)
PRICE_ATOMIC = 1_000
CONNECTIONS = 64


class Seller:
    """One seller of one price. The payee is an owner with a token account."""

    def __init__(self, rpc_url: str, fee_payer: Keypair, pay_to: str, address: str, delay_s: float) -> None:
        self._rpc_url = rpc_url
        self._fee_payer = fee_payer
        self._delay_s = delay_s
        self._http = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=CONNECTIONS), trust_env=False)
        self._counts = {"asked": 0, "paid": 0, "refused": 0, "again": 0}
        self._answers: dict[str, asyncio.Task[Response]] = {}
        self._busy: set[str] = set()
        offer = PaymentRequirements(
            scheme="exact",
            network=NETWORK,
            asset=str(USDC_MINT),
            amount=str(PRICE_ATOMIC),
            pay_to=pay_to,
            max_timeout_seconds=60,
            extra={"feePayer": str(fee_payer.pubkey())},
        )
        info = ResourceInfo(url=f"{address}/data", description="a benchmark's data", mime_type="application/json")
        self._offer = encode_payment_required_header(PaymentRequired(accepts=[offer], resource=info))

    async def data(self, request: Request) -> Response:
        """`GET /data`: 402 with the offer, or the data for a payment that the chain took."""
        await asyncio.sleep(self._delay_s)
        paid = request.headers.get("payment-signature")
        if paid is None:
            self._counts["asked"] += 1
            return JSONResponse({}, 402, {"PAYMENT-REQUIRED": self._offer})
        fault, before = request.query_params.get("fault"), self._answers.get(paid)
        if before is not None:
            self._counts["again"] += 1
            return await before
        if fault == "busy" and paid not in self._busy:
            self._busy.add(paid)
            self._counts["again"] += 1
            return JSONResponse({}, 503)
        settling = self._answers[paid] = asyncio.create_task(self._sell(paid))
        answer = await asyncio.shield(settling)
        return StreamingResponse(_cut_off(), 200) if fault == "lost" else answer

    async def _sell(self, paid: str) -> Response:
        payload = decode_payment_signature_header(paid)
        assert isinstance(payload, PaymentPayload)
        signature, error = await self._settle(payload.payload["transaction"])
        if signature is None:
            self._counts["refused"] += 1
            return JSONResponse({"error": error}, 402, {"PAYMENT-REQUIRED": self._offer})
        self._counts["paid"] += 1
        receipt = SettleResponse(success=True, transaction=signature, network=NETWORK)
        headers = {"PAYMENT-RESPONSE": encode_payment_response_header(receipt)}
        return JSONResponse({"number": self._counts["paid"]}, headers=headers)

    async def counts(self, _request: Request) -> Response:
        """`GET /counts`."""
        return JSONResponse(self._counts)

    async def _settle(self, transaction: str) -> tuple[str | None, object]:
        unsigned = VersionedTransaction.from_bytes(base64.b64decode(transaction))
        signatures = list(unsigned.signatures)
        signatures[0] = self._fee_payer.sign_message(to_bytes_versioned(unsigned.message))
        raw = base64.b64encode(bytes(VersionedTransaction.populate(unsigned.message, signatures))).decode()
        params = [raw, {"encoding": "base64", "skipPreflight": True}]
        call = {"jsonrpc": "2.0", "id": 1, "method": "sendTransaction", "params": params}
        answer = (await self._http.post(self._rpc_url, json=call)).json()
        return answer.get("result"), answer.get("error")


async def _cut_off() -> AsyncIterator[bytes]:
    """A body that breaks off: the server closes the connection."""
    yield b"{"
    raise ConnectionResetError


def main() -> None:
    """Serve until it is ended."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rpc", required=True)
    parser.add_argument("--fee-payer", type=Path, required=True, help="a key file of the Solana CLI")
    parser.add_argument("--pay-to", required=True)
    parser.add_argument("--delay-ms", type=float, default=0)
    given = parser.parse_args()
    address = f"http://127.0.0.1:{given.port}"
    seller = Seller(given.rpc, read_key_file(given.fee_payer), given.pay_to, address, given.delay_ms / 1000)
    routes = [Route("/data", seller.data), Route("/counts", seller.counts)]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=given.port, log_level="critical")


if __name__ == "__main__":
    main()
