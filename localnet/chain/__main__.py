"""Serves a chain: `python -m localnet.chain --home DIR --port N [--ws-port M] [--slot-ms 400]`."""

import argparse
import signal
import sys
from pathlib import Path

import uvicorn

from localnet.chain.app import DEFAULT_SLOT_MS, build_app
from localnet.chain.rpc.pubsub import MAX_MESSAGE_BYTES

HOST = "127.0.0.1"


def main() -> None:
    """Serve on the loopback address until SIGTERM; both ports take both HTTP and WebSocket."""
    parser = argparse.ArgumentParser(prog="python -m localnet.chain", description="An embedded Solana chain.")
    parser.add_argument("--home", type=Path, required=True, help="directory of the chain's file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ws-port", type=int, help="a second port: clients look for the WebSocket at the next one")
    parser.add_argument("--slot-ms", type=int, default=DEFAULT_SLOT_MS, help="length of a slot")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn shuts down first and then hands the signal back.
        signal.signal(number, lambda *_: sys.exit(0))
    config = uvicorn.Config(
        build_app(arguments.home, arguments.slot_ms),
        host=HOST,
        port=arguments.port,
        access_log=False,
        log_level="warning",
        ws_max_size=MAX_MESSAGE_BYTES,
    )
    sockets = [config.bind_socket()]
    if arguments.ws_port is not None:
        config.port = arguments.ws_port
        sockets.append(config.bind_socket())
    server = uvicorn.Server(config)
    server.run(sockets)
    if not server.started:
        sys.exit("the chain could not start")


if __name__ == "__main__":
    main()
