"""An x402 facilitator as an HTTP service: the official SDK's, with a fee payer of its own on the embedded chain.

    python -m localnet.facilitator --rpc http://127.0.0.1:8899 --port 4022 --home .autopay/facilitator

`POST /verify`, `POST /settle`, `GET /supported` (what the SDK's `HTTPFacilitatorClient` speaks), `GET /health`.
What must not live here: a rule about payments; those are the SDK's.
"""

import argparse
import asyncio
import logging
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import anyio.to_thread
import uvicorn
from fastapi import Body, FastAPI
from fastapi.responses import JSONResponse
from solders.keypair import Keypair
from solders.signature import Signature
from solders.transaction_status import TransactionConfirmationStatus
from x402 import x402FacilitatorSync
from x402.mechanisms.svm import FacilitatorKeypairSigner
from x402.mechanisms.svm.exact import ExactSvmFacilitatorScheme
from x402.mechanisms.svm.exact.v1 import ExactSvmSchemeV1Facilitator
from x402.mechanisms.svm.settlement_cache import SettlementCache
from x402.schemas import (
    PaymentPayload,
    PaymentRequirements,
    SchemeNotFoundError,
    SettleResponse,
    VerifyResponse,
)
from x402.schemas.helpers import parse_payment_payload, parse_payment_requirements
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1

from localnet.tokens import ensure_sol, load_or_create_keypair, patiently, wait_for_chain
from localnet.weather.faults import WeatherState
from localnet.weather.middleware import AsgiApp, WeatherMiddleware

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
NETWORK_V1 = "solana-devnet"
SETTLEMENTS_AT_ONCE = 200  # each waits in a thread of its own until the chain confirms

PayloadAndRequirements = tuple[PaymentPayload | PaymentPayloadV1, PaymentRequirements | PaymentRequirementsV1]

logger = logging.getLogger(__name__)


class PollingSigner(FacilitatorKeypairSigner):
    """The SDK's signer, asking for a confirmation every `poll_s` seconds where the SDK asks once a second.

    It gives up after `patience_s`, 30 in the SDK, and keeps the SDK's order: a transaction that is confirmed
    counts, even when it failed on chain.
    """

    def __init__(self, keypair: Keypair, rpc_url: str, poll_s: float, patience_s: float) -> None:
        super().__init__(keypair, rpc_url)
        self.poll_s = poll_s
        self.patience_s = patience_s
        self._leaving = threading.Event()

    def give_up(self) -> None:
        """End every wait for a confirmation: those payments are reported as pending."""
        self._leaving.set()

    def confirm_transaction(self, signature: str, network: str, timeout_seconds: float | None = None) -> None:
        """Block until `signature` is confirmed; `RuntimeError` when it failed before that, or at the time-out."""
        client = self._get_client(network)
        deadline = time.monotonic() + (timeout_seconds or self.patience_s)
        while time.monotonic() < deadline:
            status = client.get_signature_statuses([Signature.from_string(signature)]).value[0]
            if status is not None:
                if status.confirmation_status in (
                    TransactionConfirmationStatus.Confirmed,
                    TransactionConfirmationStatus.Finalized,
                ):
                    return
                if status.err is not None:
                    raise RuntimeError(f"Transaction failed: {status.err}")
            if self._leaving.wait(self.poll_s):
                raise RuntimeError("The facilitator is shutting down")
        raise RuntimeError("Transaction confirmation timeout")


class FacilitatorServer(uvicorn.Server):
    """A server that does not wait for confirmations once it is told to end."""

    def __init__(self, config: uvicorn.Config, signer: PollingSigner) -> None:
        super().__init__(config)
        self._signer = signer

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """What uvicorn does at a signal, and give up."""
        self._signer.give_up()
        super().handle_exit(sig, frame)


def build_facilitator(signer: FacilitatorKeypairSigner) -> x402FacilitatorSync:
    """Scheme `exact` on devnet, in v2 and v1; one cache of settlements, so that bytes settle once over both."""
    settled = SettlementCache()
    facilitator = x402FacilitatorSync()
    facilitator.register([NETWORK], ExactSvmFacilitatorScheme(signer, settled))
    facilitator.register_v1([NETWORK_V1], ExactSvmSchemeV1Facilitator(signer, settled))
    return facilitator


def build_app(signer: FacilitatorKeypairSigner) -> FastAPI:
    """The service; its fee payer needs SOL before the first settlement."""
    facilitator = build_facilitator(signer)
    [fee_payer] = signer.get_addresses()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = SETTLEMENTS_AT_ONCE
        yield

    app = FastAPI(title="Facilitator", lifespan=lifespan, docs_url=None, redoc_url=None)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "feePayer": fee_payer}

    @app.get("/supported")
    def supported() -> dict[str, Any]:
        return facilitator.get_supported().model_dump(by_alias=True, exclude_none=True)

    @app.post("/verify")
    def verify(body: dict[str, Any] = Body()) -> JSONResponse:  # noqa: B008 (FastAPI's way)
        try:
            payload, requirements = _terms(body)
        except (KeyError, ValueError, TypeError) as error:
            return JSONResponse({"error": f"malformed request: {error!r}"}, 400)
        return _answer(_verify(facilitator, payload, requirements))

    @app.post("/settle")
    def settle(body: dict[str, Any] = Body()) -> JSONResponse:  # noqa: B008
        try:
            payload, requirements = _terms(body)
        except (KeyError, ValueError, TypeError) as error:
            return JSONResponse({"error": f"malformed request: {error!r}"}, 400)
        return _answer(_settle(facilitator, payload, requirements))

    return app


def _terms(body: dict[str, Any]) -> PayloadAndRequirements:
    payload = parse_payment_payload(body["paymentPayload"])
    return payload, parse_payment_requirements(payload.x402_version, body["paymentRequirements"])


def _refuse_other_networks(payload: PaymentPayload | PaymentPayloadV1) -> None:
    """The SDK widens a registered network to its whole family: without this, mainnet's would settle here."""
    if payload.get_network() not in (NETWORK, NETWORK_V1):
        raise SchemeNotFoundError(payload.get_scheme(), payload.get_network())


def _verify(
    facilitator: x402FacilitatorSync,
    payload: PaymentPayload | PaymentPayloadV1,
    requirements: PaymentRequirements | PaymentRequirementsV1,
) -> VerifyResponse:
    try:
        _refuse_other_networks(payload)
        return facilitator.verify(payload, requirements)
    except SchemeNotFoundError as error:
        return VerifyResponse(is_valid=False, invalid_reason="unsupported_scheme", invalid_message=str(error))
    except Exception as error:  # the caller always gets a verdict
        logger.exception("verify")
        return VerifyResponse(is_valid=False, invalid_reason="unexpected_verify_error", invalid_message=str(error))


def _settle(
    facilitator: x402FacilitatorSync,
    payload: PaymentPayload | PaymentPayloadV1,
    requirements: PaymentRequirements | PaymentRequirementsV1,
) -> SettleResponse:
    try:
        _refuse_other_networks(payload)
        return facilitator.settle(payload, requirements)
    except SchemeNotFoundError as error:
        reason, message = "unsupported_scheme", str(error)
    except Exception as error:  # the caller always gets a verdict
        logger.exception("settle")
        reason, message = "unexpected_settle_error", str(error)
    return SettleResponse(
        success=False,
        error_reason=reason,
        error_message=message,
        transaction="",
        network=requirements.network,
    )


def _answer(verdict: VerifyResponse | SettleResponse) -> JSONResponse:
    return JSONResponse(verdict.model_dump(by_alias=True, exclude_none=True))


async def prepare(keypair: Keypair, rpc_url: str) -> None:
    """Wait for the chain, and fund the fee payer."""
    await wait_for_chain(rpc_url)
    await patiently(lambda: ensure_sol(rpc_url, keypair.pubkey()))
    logger.info("fee payer %s", keypair.pubkey())


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m localnet.facilitator", description=__doc__)
    parser.add_argument("--rpc", required=True, help="URL of the chain's JSON-RPC")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="keeps facilitator.json, the fee payer's key")
    parser.add_argument("--poll-ms", type=int, default=100, help="how often to ask for a confirmation")
    parser.add_argument("--patience-ms", type=int, default=30_000, help="after which a payment is called pending")
    parser.add_argument("--seed", type=int, help="of the weather's dice")
    arguments = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    keypair = load_or_create_keypair(arguments.home / "facilitator.json")
    # Before uvicorn serves, this ends the process at once; afterwards uvicorn shuts down first and then hands the
    # signal back.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    asyncio.run(prepare(keypair, arguments.rpc))
    signer = PollingSigner(keypair, arguments.rpc, arguments.poll_ms / 1000, arguments.patience_ms / 1000)
    app: AsgiApp = build_app(signer)
    config = uvicorn.Config(
        WeatherMiddleware(app, WeatherState(arguments.seed)),
        host="127.0.0.1",
        port=arguments.port,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
    )
    FacilitatorServer(config, signer).run()


if __name__ == "__main__":
    main()
