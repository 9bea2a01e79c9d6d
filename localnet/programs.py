"""The stack's own programs: chain, facilitator, sellers, codec server, workers; and how each is asked if it works."""

import os
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import httpx

from autopay.settings import Settings
from autopay.top_level import TOP_LEVEL, WORKER
from localnet.child import Child, Program

HOST = "127.0.0.1"
WORKER_READY = "worker ready"
_PROBE_TIMEOUT_S = 5
_DRAIN_S = 40


def url(port: int, scheme: str = "http") -> str:
    """The address of a loopback port."""
    return f"{scheme}://{HOST}:{port}"


def chain_program(home: Path, ports: Mapping[str, int], slot_ms: int) -> Program:
    """The Solana chain; it answers when getHealth says ok."""
    command = ["--home", str(home / "chain"), "--port", str(ports["chain"]), "--ws-port", str(ports["chain-ws"])]
    command += ["--slot-ms", str(slot_ms)]

    async def answers() -> bool:
        question = {"jsonrpc": "2.0", "id": 1, "method": "getHealth"}
        reply = await _ask("POST", url(ports["chain"]), question)
        return reply is not None and reply.json().get("result") == "ok"

    return Program("chain", _module("localnet.chain", *command), answers, _environment())


def facilitator_program(home: Path, ports: Mapping[str, int]) -> Program:
    """The facilitator; it answers when its fee payer has SOL."""
    command = ["--rpc", url(ports["chain"]), "--port", str(ports["facilitator"]), "--home", str(home / "facilitator")]

    async def answers() -> bool:
        return await _ask("GET", url(ports["facilitator"]) + "/health") is not None

    return Program("facilitator", _module("localnet.facilitator", *command), answers, _environment())


def sellers_program(home: Path, ports: Mapping[str, int]) -> Program:
    """Both paid APIs; they answer when their token accounts are open."""
    command = ["--facilitator", url(ports["facilitator"]), "--rpc", url(ports["chain"])]
    command += ["--market-port", str(ports["market"]), "--knowledge-port", str(ports["knowledge"])]
    command += ["--home", str(home / "sellers")]

    async def answers() -> bool:
        for part in ("market", "knowledge"):
            if await _ask("GET", url(ports[part]) + "/health") is None:
                return False
        return True

    return Program("sellers", _module("localnet.sellers", *command), answers, _environment())


def codec_program(home: Path, ports: Mapping[str, int]) -> Program:
    """The codec server, which finds the keyring as a worker does; it answers for Temporal's web UI only."""
    command = ["--port", str(ports["codec"])]
    for host in (HOST, "localhost"):
        command += ["--ui", f"http://{host}:{ports['temporal-ui']}"]

    async def answers() -> bool:
        return await _ask("GET", url(ports["codec"]) + "/health") is not None

    return Program("codec", _module("autopay.temporal.codec_server", *command), answers, _environment(home))


def page_program(home: Path, ports: Mapping[str, int]) -> Program:
    """The API and the page, which find the stack by its home; they answer when they can be asked."""
    command = ["serve", "--port", str(ports["page"]), "--home", str(home)]

    async def answers() -> bool:
        return await _ask("GET", url(ports["page"]) + "/health") is not None

    return Program("page", _module("autopay", *command), answers, {**_environment(home), "AUTOPAY_METRICS": ""})


def page_is_installed() -> bool:
    """Whether the libraries are there that only `autopay[api]` brings."""
    return all(find_spec(name) is not None for name in ("jinja2", "limits", "python_multipart", "standardwebhooks"))


def worker_child(home: Path, logs: Path, number: int) -> Child:
    """A worker that finds the stack by its home; it answers when it has logged that it is ready."""

    async def answers() -> bool:
        return WORKER_READY in child.written()

    command = [sys.executable, "-P", str(WORKER)]
    settings = Settings.load()
    own = {"METRICS": settings.metrics, "HEALTH": settings.health}
    variables = _environment(home) | {f"AUTOPAY_{name}": _of_number(address, number) for name, address in own.items()}
    child = Child(Program(f"worker-{number}", command, answers, variables, grace_s=_DRAIN_S), logs)
    return child


def _module(name: str, *arguments: str) -> list[str]:
    """A module as a program. Without -P, Python would import what the working directory has under the same names."""
    return [sys.executable, "-P", "-m", name, *arguments]


def _environment(home: Path | None = None) -> dict[str, str]:
    """What a program of ours needs to find its modules, and the stack's home where it reads settings."""
    before = os.environ.get("PYTHONPATH")
    variables = {"PYTHONPATH": os.pathsep.join([str(TOP_LEVEL), *([before] if before else [])])}
    return variables if home is None else {**variables, "AUTOPAY_HOME": str(home)}


def _of_number(address: str, number: int) -> str:
    """Where that worker listens: the first one at the address that is set, the others at the ports after it."""
    host, _, port = address.rpartition(":")
    return f"{host}:{int(port) + number - 1 if int(port) else 0}" if port else ""


async def _ask(method: str, address: str, body: object = None) -> httpx.Response | None:
    """The answer when it is a good one. Proxies from the environment do not concern loopback."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=_PROBE_TIMEOUT_S) as client:
            reply = await client.request(method, address, json=body)
    except httpx.HTTPError:
        return None
    return reply if reply.is_success else None
