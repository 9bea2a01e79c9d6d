"""Connections to sellers, checked at the address that they really go to.

A name is resolved here, every address that it has is checked, and the connection goes to one of these addresses: a
name that resolves to something else a moment later cannot pass. TLS still names and verifies the host.

Which addresses are allowed, `autopay.domain.policy.reach` says.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any

import httpcore
import httpx

from autopay.domain.policy.reach import IpAddress, Reach, is_loopback_name, literal
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.text.hosts import check_url, origin

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port → its addresses, the best first; OSError when there are none."""

_MOST_TRIED = 4
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


class NotAllowed(Exception):
    """A seller is not asked."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


def require_askable(url: str, reach: Reach) -> None:
    """See that the URL means one host to everybody who reads it, and that this one may be asked.

    Of a host that is an address, that is looked at, too; of a name, where the connection goes (`CheckedBackend`).

    Raises:
        NotAllowed: no exchange may begin.
    """
    target = origin(url)
    try:
        check_url(url)
        parsed = httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise NotAllowed(_unreadable(url, str(error))) from None
    if target is None or parsed.raw_host.decode() != target[1]:
        raise NotAllowed(_unreadable(url, "its host can be read in two ways"))
    _, host, port = target
    refused = reach.transport(*target)
    address = literal(host) or (_LOOPBACK if is_loopback_name(host) else None)
    if refused is None and address is not None:
        refused = reach.address(host, port, address)
    if refused is not None:
        raise NotAllowed(refused)


def _unreadable(url: str, why: str) -> Refused:
    return Refused(
        reason=RefusalReason.INSECURE_TRANSPORT, message=f"{url[:200]!r} is not an http(s) address: {why[:200]}"
    )


def resolver(threads: Executor | None) -> Resolver:
    """The system's resolver, which blocks one of these threads; None: of those that the whole process shares."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(threads, ask)
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    return resolve


resolve = resolver(None)
"""The system's resolver."""


class CheckedTransport(httpx.AsyncHTTPTransport):
    """httpx's transport over checked connections, without proxies: behind one, nobody knows where they go.

    Certificates are verified against what `SSL_CERT_FILE` or `SSL_CERT_DIR` name, if set.
    """

    def __init__(self, reach: Reach, resolve: Resolver, *, connections: int, kept_alive: int) -> None:
        # httpx has no way to give its pool a network backend, so the pool is made here in its place.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            max_keepalive_connections=kept_alive,
            keepalive_expiry=5,
            network_backend=CheckedBackend(reach, resolve),
        )


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to a host only if all of its addresses are allowed; else raises `NotAllowed`."""

    def __init__(self, reach: Reach, resolve: Resolver) -> None:
        self._reach = reach
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first of the addresses that takes one."""
        try:
            async with asyncio.timeout(timeout):
                addresses = await self._addresses(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"resolving {host}") from error
        except (OSError, ValueError) as error:  # ValueError: a name that no resolver takes
            raise httpcore.ConnectError(f"resolving {host}: {error}") from error
        for address in addresses:
            if (refused := self._reach.address(host, port, address)) is not None:
                raise NotAllowed(refused)
        tried = addresses[:_MOST_TRIED]
        each_s = None if timeout is None else timeout / len(tried)
        for address in tried[:-1]:
            try:
                return await self._inner.connect_tcp(str(address), port, each_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(str(tried[-1]), port, each_s, local_address, socket_options)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[IpAddress]:
        """At least one."""
        if (address := literal(host)) is not None:
            return [address]
        found = [ipaddress.ip_address(each) for each in await self._resolve(host, port)]
        if not found:
            raise OSError("no address")
        return found
