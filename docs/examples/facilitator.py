"""A facilitator of one's own on the official x402 SDK: checks payments, pays their fees, and sends them.

    python docs/examples/facilitator.py --rpc http://127.0.0.1:8899 --key facilitator.json --port 8502

`--key` is a key file of the Solana CLI; its address needs SOL for fees.
"""

import argparse
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Body, FastAPI
from solders.keypair import Keypair
from x402 import x402FacilitatorSync
from x402.mechanisms.svm import FacilitatorKeypairSigner
from x402.mechanisms.svm.exact import ExactSvmFacilitatorScheme
from x402.schemas.helpers import parse_payment_payload, parse_payment_requirements

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"  # devnet, which the embedded chain stands in for


def build_app(key: Keypair, rpc_url: str) -> FastAPI:
    """What the SDK's own client asks of a facilitator."""
    facilitator = x402FacilitatorSync()
    facilitator.register([NETWORK], ExactSvmFacilitatorScheme(FacilitatorKeypairSigner(key, rpc_url)))
    app = FastAPI()

    @app.get("/supported")
    def supported() -> dict[str, Any]:
        return facilitator.get_supported().model_dump(by_alias=True, exclude_none=True)

    @app.post("/verify")
    def verify(body: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008 (FastAPI's way)
        return facilitator.verify(*terms(body)).model_dump(by_alias=True, exclude_none=True)

    @app.post("/settle")
    def settle(body: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008
        return facilitator.settle(*terms(body)).model_dump(by_alias=True, exclude_none=True)

    return app


def terms(body: dict[str, Any]) -> tuple[Any, Any]:
    """The payment and what it should be."""
    payload = parse_payment_payload(body["paymentPayload"])
    return payload, parse_payment_requirements(payload.x402_version, body["paymentRequirements"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rpc", required=True)
    parser.add_argument("--key", required=True, type=Path)
    parser.add_argument("--port", type=int, default=8502)
    given = parser.parse_args()
    uvicorn.run(build_app(Keypair.from_json(given.key.read_text()), given.rpc), port=given.port)
