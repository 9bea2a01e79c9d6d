"""The embedded chain, facilitator and sellers as processes of their own, for the tests in this folder."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Commitment, Confirmed
from solders.pubkey import Pubkey

from localnet.ports import PortClaims
from localnet.tokens import wait_for_chain

ROOT = Path(__file__).resolve().parents[2]
START_S = 60
SLOT_MS = 20
POLL_MS = 10


_CLAIMS = PortClaims()


def free_port() -> int:
    """A port that nobody else takes while these tests run."""
    return _CLAIMS.claim_any()


async def until(condition: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 30) -> None:
    """Poll `condition` until it holds; an AssertionError naming `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not await condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.01)


class Service:
    """One `python -m module`, with its log in a file."""

    def __init__(self, home: Path, module: str, *arguments: str) -> None:
        self.module = module
        self.log = home / f"{module}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
            )

    def assert_alive(self) -> None:
        code = self.process.poll()
        assert code is None, f"{self.module} ended with {code}:\n{self.log.read_text()[-4_000:]}"

    def stop(self) -> int:
        """SIGTERM, and the exit code; SIGKILL to a service that does not heed it."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    async def wait_for(self, url: str) -> None:
        """Return once `url` answers 200."""

        async def healthy() -> bool:
            self.assert_alive()
            try:
                return (await client.get(url)).status_code == 200
            except httpx.TransportError:
                return False

        async with httpx.AsyncClient() as client:
            await until(healthy, f"{url}; the log says:\n{self.log.read_text()[-4_000:]}", START_S)


@dataclass
class Stack:
    """Where everything is."""

    home: Path
    rpc_url: str
    facilitator_url: str
    market_url: str
    knowledge_url: str

    @property
    def urls(self) -> list[str]:
        return [self.rpc_url, self.facilitator_url, self.market_url, self.knowledge_url]

    async def weather(self, url: str, **faults: object) -> None:
        """Set exactly these faults on the service at `url`."""
        async with httpx.AsyncClient() as client:
            (await client.put(f"{url}/weather", json={})).raise_for_status()
            if faults:
                (await client.put(f"{url}/weather", json=faults)).raise_for_status()

    async def balance(self, token_account: Pubkey, commitment: Commitment = Confirmed) -> int:
        """Base units."""
        async with AsyncClient(self.rpc_url) as rpc:
            return int((await rpc.get_token_account_balance(token_account, commitment)).value.amount)


class Services:
    """Starts the stack in order and stops it in the opposite one."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.running: list[Service] = []

    def start(self, module: str, *arguments: str) -> Service:
        service = Service(self.home, module, *arguments)
        self.running.append(service)
        return service

    async def start_all(self) -> Stack:
        chain, facilitator, market, knowledge = (free_port() for _ in range(4))
        rpc_url, facilitator_url = f"http://127.0.0.1:{chain}", f"http://127.0.0.1:{facilitator}"
        home = str(self.home)
        self.start("localnet.chain", "--home", home, "--port", str(chain), "--slot-ms", str(SLOT_MS))
        await wait_for_chain(rpc_url, START_S)
        last = self.start(
            "localnet.facilitator",
            *("--rpc", rpc_url, "--port", str(facilitator), "--home", home, "--poll-ms", str(POLL_MS)),
        )
        await last.wait_for(f"{facilitator_url}/health")
        last = self.start(
            "localnet.sellers",
            *("--facilitator", facilitator_url, "--rpc", rpc_url, "--home", home),
            *("--market-port", str(market), "--knowledge-port", str(knowledge)),
        )
        urls = [f"http://127.0.0.1:{port}" for port in (market, knowledge)]
        for url in urls:
            await last.wait_for(f"{url}/health")
        return Stack(self.home, rpc_url, facilitator_url, *urls)

    def stop_all(self) -> list[tuple[str, int]]:
        """The exit code of each, newest first."""
        return [(service.module, service.stop()) for service in reversed(self.running)]
