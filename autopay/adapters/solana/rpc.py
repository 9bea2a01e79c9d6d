"""`NodeRpc`, the client of one Solana RPC node: the only place that knows JSON-RPC over HTTP.

Providers answer with more than the specification says: errors with codes of their own, texts, HTML, nothing, numbers
beyond 64 bits, another question's answer. Whatever is not an answer to the question is `ChainUnavailable`, which is
tried again, and never anything else: no error of HTTP, JSON or a parser leaves this module.
"""

import asyncio
import ipaddress
import itertools
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import httpx
from pydantic import ValidationError

from autopay.adapters.solana.answers import Address, Answer, Envelope, NodeErrorBody
from autopay.domain.errors import ChainUnavailable, NodeBehind, PermanentFault, TransientFault, WrongNetwork
from autopay.domain.network import Network, genesis_hash
from autopay.metrics.recording import observe
from autopay.metrics.table import RPC_SECONDS

ANSWER_LIMIT_BYTES = 32_000_000
"""A page of 1000 transactions with the longest memos has 8 MB, the accounts of a wallet 0.5 kB each."""

MIN_CONTEXT_SLOT_NOT_REACHED = -32016
"""JSON-RPC error code of Solana nodes (solana-rpc-client-api, custom_error.rs)."""

TRIES, FIRST_WAIT_S = 3, 0.2
"""How often a question is put, and the wait before it is put again, which doubles. A node that refuses every second
question as one too many would else never let a step through that has several."""

MESSAGE_CHARS = 200
SHORTEST_SECRET = 6
"""Shorter parts of a URL (`v2`, `rpc`) are no key, and would be missing in messages."""

R = TypeVar("R")


class HttpSettingsWrong(PermanentFault):
    """The environment's settings for HTTP (a proxy variable, SSL_CERT_FILE or SSL_CERT_DIR) cannot be used."""


@dataclass(frozen=True)
class NodeError:
    """What a node answered instead: `said` for people; code, message and data where it was an error of JSON-RPC."""

    said: str
    code: int | None = None
    message: str = ""
    data: Any = None

    def fault(self, method: str) -> TransientFault:
        """The fault that it is. Also of a question that the node refuses: another node, or a later hour, may not."""
        if self.code == MIN_CONTEXT_SLOT_NOT_REACHED:
            slot = self.data.get("contextSlot") if isinstance(self.data, dict) else None
            return NodeBehind(f"at slot {slot}" if isinstance(slot, int) else "")
        return ChainUnavailable(f"{method}: {self.said}")


class NodeRpc:
    """One RPC endpoint of one network; checks once that the node belongs to it. Close it, or use `async with`.

    Args:
        network: whose genesis hash the node must have, else WrongNetwork.
        timeout_s: for a whole answer.
        tries: how often `ask` puts a question that the node did answer, but with something else.
    """

    def __init__(self, rpc_url: str, network: Network, timeout_s: float = 10, tries: int = TRIES) -> None:
        self._url = rpc_url
        self._waits_s = tuple(FIRST_WAIT_S * 2**number for number in range(tries - 1))
        self._network = network
        self._timeout_s = timeout_s
        self._http = _http_client(rpc_url, timeout_s)
        self._numbers = itertools.count(1)
        self._checked = False

    async def close(self) -> None:
        """Close the connection pool."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def ask(self, method: str, *params: Any, answer: type[Answer[R]]) -> R:
        """The result of one question.

        Raises:
            ChainUnavailable: no answer, an error of the node, or what is no answer to this question.
            NodeBehind: the node has not reached the slot of `minContextSlot`.
            WrongNetwork: the node belongs to another network.
        """
        await self.check_network()
        return await self._result(method, params, answer)

    async def ask_once(self, method: str, *params: Any, answer: type[Answer[R]]) -> R | NodeError:
        """As `ask`, and what the node answered instead is returned: for who knows what to make of it."""
        await self.check_network()
        return await self._ask(method, params, answer)

    async def check_network(self) -> None:
        """Once: the node must have our network's genesis hash, else WrongNetwork."""
        if self._checked:
            return
        found = await self.genesis_hash()
        if found != genesis_hash(self._network):
            raise WrongNetwork(f"expected {self._network}, the node has genesis hash {found}")
        self._checked = True

    async def genesis_hash(self) -> str:
        """The hash of the chain's first block, as the node says it."""
        return await self._result("getGenesisHash", (), Answer[Address])

    async def _result(self, method: str, params: tuple[Any, ...], answer: type[Answer[R]]) -> R:
        for wait_s in self._waits_s:
            found = await self._ask(method, params, answer)
            if not isinstance(found, NodeError):
                return found
            await asyncio.sleep(wait_s)
        found = await self._ask(method, params, answer)
        if isinstance(found, NodeError):
            raise found.fault(method)
        return found

    async def _ask(self, method: str, params: tuple[Any, ...], answer: type[Answer[R]]) -> R | NodeError:
        began, outcome = perf_counter(), "unavailable"
        try:
            found = await self._answer(method, params, answer)
            outcome = "error" if isinstance(found, NodeError) else "ok"
            return found
        finally:
            observe(RPC_SECONDS, perf_counter() - began, method=method, outcome=outcome)

    async def _answer(self, method: str, params: tuple[Any, ...], answer: type[Answer[R]]) -> R | NodeError:
        number = next(self._numbers)
        question = {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
        try:
            async with asyncio.timeout(self._timeout_s):
                status, body = await self._exchange(question)
        except TimeoutError:
            raise ChainUnavailable(f"{method}: no answer within {self._timeout_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            said = without_secrets(f"{type(error).__name__}: {error}", self._url)
            raise ChainUnavailable(f"{method}: {said}") from None
        return self._read(number, status, body, answer)

    async def _exchange(self, question: dict[str, Any]) -> tuple[int, bytes]:
        """Ask once more when a connection that had been idle turns out to be closed: every question may be repeated."""
        try:
            return await self._post(question)
        except (httpx.RemoteProtocolError, httpx.ReadError):
            return await self._post(question)

    async def _post(self, question: dict[str, Any]) -> tuple[int, bytes]:
        """Status and body; of a body beyond the limit its beginning, which is no JSON."""
        async with self._http.stream("POST", self._url, json=question) as response:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > ANSWER_LIMIT_BYTES:
                    break
            return response.status_code, bytes(body)

    def _read(self, number: int, status: int, body: bytes, answer: type[Answer[R]]) -> R | NodeError:
        if len(body) > ANSWER_LIMIT_BYTES:
            return NodeError(f"an answer of more than {ANSWER_LIMIT_BYTES} bytes")
        try:
            envelope = Envelope.model_validate_json(body)
        except ValidationError:
            envelope = None
        if envelope is not None and envelope.error is not None:
            return self._error_of(envelope.error)
        if status != httpx.codes.OK:
            return NodeError(
                f"HTTP {status}" + ("; set the address that it redirects to" if 300 <= status < 400 else "")
            )
        if envelope is None:
            return NodeError(f"the answer is not JSON-RPC ({_beginning(body, self._url)})")
        if str(envelope.id) != str(number):
            return NodeError("an answer to another question")
        try:
            return answer.model_validate_json(body).result
        except ValidationError as error:
            return NodeError(f"an unreadable answer ({_where(error)})")

    def _error_of(self, error: Any) -> NodeError:
        try:
            known = NodeErrorBody.model_validate(error)
        except ValidationError:
            said = error.get("message", error) if isinstance(error, dict) else error
            return NodeError(f"an error ({without_secrets(str(said), self._url)})")
        message = without_secrets(known.message, self._url)
        return NodeError(f"error {known.code}" + (f" ({message})" if message else ""), known.code, message, known.data)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turns the errors of a parser of bytes that the node gave out into ChainUnavailable."""
    try:
        yield
    except (ValueError, IndexError) as error:
        raise ChainUnavailable(f"an unreadable {what} ({type(error).__name__})") from None


def without_secrets(text: str, url: str) -> str:
    """One short line of a text, without the parts of a URL that may be a key: user, path, query."""
    parts = urlsplit(url)
    found = [parts.username, parts.password, parts.query, *parts.path.split("/"), parts.fragment]
    found += [value for _, value in parse_qsl(parts.query)]
    secrets = {form for each in found if each for form in (each, unquote(each))}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "…")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= MESSAGE_CHARS else f"{line[:MESSAGE_CHARS]}…"


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine: no proxy of the environment stands between."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _http_client(rpc_url: str, timeout_s: float) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=10, max_keepalive_connections=5)  # public nodes count connections
    local = is_loopback(rpc_url)
    # Certificates are slow to load. Without any, nothing is trusted, and a plain connection needs none.
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if local and rpc_url.startswith("http:") else True
    try:
        return httpx.AsyncClient(
            timeout=timeout_s, limits=limits, follow_redirects=False, trust_env=not local, verify=tls
        )
    except (ValueError, OSError, httpx.InvalidURL) as error:
        raise HttpSettingsWrong(type(error).__name__) from None


def _beginning(body: bytes, url: str) -> str:
    if not body.strip():
        return "it is empty"
    begin = without_secrets(body[:1000].decode(errors="replace"), url)
    return f"it begins with {begin[:40]!r}"


def _where(error: ValidationError) -> str:
    """The first field that is wrong, and how; never the value."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:MESSAGE_CHARS]
