"""A seller on the official x402 SDK: one route, 0.002 USDC a request.

    python docs/examples/seller.py --facilitator http://127.0.0.1:8402 --pay-to ADDRESS --port 8501

`--pay-to` needs a token account for USDC.
"""

import argparse

import uvicorn
from fastapi import FastAPI
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.middleware.fastapi import payment_middleware
from x402.http.types import PaymentOption, RouteConfig
from x402.mechanisms.svm.exact import register_exact_svm_server

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"  # devnet, which the embedded chain stands in for


def build_app(facilitator_url: str, pay_to: str) -> FastAPI:
    """The route, and the SDK's middleware in front of it."""
    server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=facilitator_url)))
    register_exact_svm_server(server, NETWORK)
    price = PaymentOption(scheme="exact", network=NETWORK, pay_to=pay_to, price="$0.002")
    routes = {"GET /weather": RouteConfig(accepts=price, description="The weather", mime_type="application/json")}
    app = FastAPI()
    app.middleware("http")(payment_middleware(routes, server))

    @app.get("/weather")
    async def weather() -> dict[str, object]:
        return {"weather": "sunny", "degrees": 21}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--facilitator", required=True)
    parser.add_argument("--pay-to", required=True)
    parser.add_argument("--port", type=int, default=8501)
    given = parser.parse_args()
    uvicorn.run(build_app(given.facilitator, given.pay_to), port=given.port)
