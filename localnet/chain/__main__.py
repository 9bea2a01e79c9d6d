"""Serves a chain: `python -m localnet.chain --home DIR --port N [--slot-ms 400]`."""

import argparse
import signal
import sys
from pathlib import Path

import uvicorn

from localnet.chain.app import DEFAULT_SLOT_MS, build_app


def main() -> None:
    """Serve on the loopback address until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m localnet.chain", description="An embedded Solana chain.")
    parser.add_argument("--home", type=Path, required=True, help="directory of the chain's file")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slot-ms", type=int, default=DEFAULT_SLOT_MS, help="length of a slot")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn shuts down first and then hands the signal back.
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.run(
        build_app(arguments.home, arguments.slot_ms),
        host="127.0.0.1",
        port=arguments.port,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
