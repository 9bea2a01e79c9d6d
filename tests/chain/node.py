"""The chain as a process of its own, as the other services see it, and the patience to wait for it."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
from solana.rpc.async_api import AsyncClient

from tests.localnet.stack import free_port

ROOT = Path(__file__).resolve().parents[2]
SLOT_MS = 20

T = TypeVar("T")


async def eventually(probe: Callable[[], Awaitable[T]], timeout_s: float = 30) -> T:
    """The first true answer of `probe`, polled until a deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = await probe()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s; the last answer was {answer!r}"
        await asyncio.sleep(0.005)


class ChainNode:
    """One chain in one directory; may be killed and started again."""

    def __init__(self, home: Path, slot_ms: int = SLOT_MS) -> None:
        self.home = home
        self.slot_ms = slot_ms
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.ws_url = f"ws://127.0.0.1:{self.port}"
        self.http = httpx.AsyncClient(base_url=self.url, timeout=30)
        self.rpc = AsyncClient(self.url, timeout=30)
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the process and return when it answers."""
        process = self._spawn()

        async def answers() -> bool:
            assert process.poll() is None, "the chain ended by itself"
            try:
                return (await self.http.get("/health")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(answers)

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "localnet.chain", "--home", str(self.home), "--port", str(self.port)]
        self._process = subprocess.Popen([*command, "--slot-ms", str(self.slot_ms)], cwd=ROOT)
        return self._process

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process by a signal; its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(15)

    async def close(self) -> None:
        """End the process and the connections to it."""
        self.stop()
        await self.http.aclose()
        await self.rpc.close()

    async def weather(self, **faults: object) -> None:
        """Put exactly these faults in force."""
        for change in ({}, faults):
            (await self.http.put("/weather", json=change)).raise_for_status()

    async def ask(self, method: str, *params: object) -> dict[str, Any]:
        """The whole answer to one request, as it is on the wire."""
        request = {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)}
        answer: dict[str, Any] = (await self.http.post("/", json=request)).json()
        return answer

    async def result(self, method: str, *params: object) -> Any:
        """The result of a request that must not fail."""
        answer = await self.ask(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, *params: object) -> dict[str, Any]:
        """The error of a request that must fail."""
        answer = await self.ask(method, *params)
        assert "error" in answer, answer
        error: dict[str, Any] = answer["error"]
        return error
