"""Runs both paid APIs in one process, each on its own port and under its own weather.

    python -m localnet.sellers --facilitator http://127.0.0.1:4022 --rpc http://127.0.0.1:8899 \
        --market-port 4001 --knowledge-port 4002 --home .autopay/sellers
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import uvicorn
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.schemas import SupportedResponse

from localnet.chain.genesis import CASH_MINT, USDC_MINT
from localnet.sellers.apps import SellerAccount, knowledge_app, market_app
from localnet.sellers.prices import NETWORK_V1
from localnet.tokens import ensure_sol, load_or_create_keypair, open_token_accounts, patiently, wait_for_chain
from localnet.weather.faults import WeatherState
from localnet.weather.middleware import AsgiApp, WeatherMiddleware

FACILITATOR_WAIT_S = 60
RETRY_S = 0.1

logger = logging.getLogger("localnet.sellers")


class SellerServer(uvicorn.Server):
    """A uvicorn server that leaves the signals to the process, as there are two of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(app: AsgiApp, port: int) -> SellerServer:
    """A server for `app`, on loopback only."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, access_log=False, log_config=None, timeout_graceful_shutdown=5
    )
    return SellerServer(config)


async def supported_by(client: HTTPFacilitatorClient) -> SupportedResponse:
    """What the facilitator supports, as soon as it answers."""
    deadline = time.monotonic() + FACILITATOR_WAIT_S
    while True:
        try:
            return await asyncio.to_thread(client.get_supported)
        except (httpx.HTTPError, ValueError) as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no answer from {client.url} in {FACILITATOR_WAIT_S} s") from error
        await asyncio.sleep(RETRY_S)


async def open_business(rpc_url: str, key_file: Path) -> str:
    """The address that is paid, with a token account for either mint."""
    keypair = load_or_create_keypair(key_file)
    await ensure_sol(rpc_url, keypair.pubkey())
    await open_token_accounts(rpc_url, keypair, keypair.pubkey(), [USDC_MINT, CASH_MINT])
    return str(keypair.pubkey())


async def serve(arguments: argparse.Namespace) -> None:
    """Open both sellers' accounts, then serve until SIGTERM or SIGINT."""
    facilitator = HTTPFacilitatorClient(FacilitatorConfig(url=arguments.facilitator))
    await wait_for_chain(arguments.rpc)
    supported, *addresses = await asyncio.gather(
        supported_by(facilitator),
        *(
            patiently(partial(open_business, arguments.rpc, arguments.home / f"{name}.json"))
            for name in ("market", "knowledge")
        ),
    )
    assert isinstance(supported, SupportedResponse)
    fee_payer_v1 = next(str((kind.extra or {})["feePayer"]) for kind in supported.kinds if kind.network == NETWORK_V1)
    servers = []
    for name, build, port, pay_to in (
        ("Market Data", market_app, arguments.market_port, addresses[0]),
        ("Knowledge Data", knowledge_app, arguments.knowledge_port, addresses[1]),
    ):
        weather = WeatherState(arguments.seed)
        seller = SellerAccount(name, facilitator, fee_payer_v1, str(pay_to), weather)
        app: AsgiApp = await asyncio.to_thread(build, seller)
        servers.append(server_of(WeatherMiddleware(app, weather), port))
        logger.info("%s on port %d, paid to %s", name, port, pay_to)

    def stop() -> None:
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await asyncio.gather(*(server.serve() for server in servers))
    await facilitator.aclose()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m localnet.sellers", description=__doc__)
    parser.add_argument("--facilitator", required=True, help="URL of the facilitator")
    parser.add_argument("--rpc", required=True, help="URL of the chain's JSON-RPC")
    parser.add_argument("--market-port", type=int, required=True)
    parser.add_argument("--knowledge-port", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True, help="keeps market.json and knowledge.json, the keys paid")
    parser.add_argument("--seed", type=int, help="of the weather's dice")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the servers take over
    asyncio.run(serve(arguments))


if __name__ == "__main__":
    main()
