"""By which names the server may be asked: other names may be an attacker's, who lets one mean this machine."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from autopay.api.access.denials import Denied, denial
from autopay.api.access.request_head import RequestHead
from autopay.domain.policy.reach import is_loopback_name, literal

_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Site:
    """The server as the caller names it."""

    scheme: str
    host: str
    port: int

    @property
    def is_https(self) -> bool:
        """Whether the caller asks over TLS, be it a proxy's."""
        return self.scheme == "https"

    @property
    def is_loopback(self) -> bool:
        """Whether the name means this machine, for everybody."""
        return is_loopback_name(self.host)

    def is_origin(self, text: str) -> bool:
        """Whether the header `Origin` names exactly this site."""
        try:
            return site_of(text) == self
        except ValueError:
            return False


def site_of(text: str) -> Site:
    """The site of a text like `https://autopay.example.com`, without a path.

    Raises:
        ValueError: it is none.
    """
    parts = urlsplit(text)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise ValueError(f"{text[:100]!r} is no site like https://autopay.example.com")
    if parts.username is not None or not _HOST.fullmatch(parts.hostname):
        raise ValueError(f"{text[:100]!r} is no site like https://autopay.example.com")
    port = parts.port if parts.port is not None else _DEFAULT_PORTS[parts.scheme]
    return Site(parts.scheme, parts.hostname.lower(), port)


@dataclass(frozen=True)
class AllowedHosts:
    """Names by which the server may be asked, beside those of loopback.

    `https` are those that are asked over TLS, as a proxy in front of the server ends it. `any_address` allows every
    address in place of a name: no page of another site can have one as its origin without being there.
    """

    names: frozenset[str] = frozenset()
    https: frozenset[str] = frozenset()
    any_address: bool = False

    @classmethod
    def of(cls, texts: Iterable[str], *, any_address: bool = False) -> Self:
        """From texts like `autopay.example.com` or `https://autopay.example.com`, which says that it is over TLS.

        Raises:
            ValueError: one of them is neither.
        """
        names, https = set(), set()
        for text in texts:
            scheme, separator, _ = text.partition("://")
            site = site_of(text if separator else f"http://{text}")
            names.add(site.host)
            if separator and scheme.lower() == "https":
                https.add(site.host)
        return cls(frozenset(names), frozenset(https), any_address)

    @property
    def is_only_loopback(self) -> bool:
        """Whether no name is allowed that another machine could mean this one by."""
        return not self.any_address and all(is_loopback_name(name) for name in self.names)

    def site(self, head: RequestHead) -> Site:
        """The site that the request asks.

        Raises:
            Denied: by a name that is not this server's.
        """
        host = head.header("host") or ""
        try:
            site = site_of(f"{head.scheme}://{host}")
        except ValueError:
            site = None
        if site is None or not self._allows(site.host):
            known = ", ".join(["127.0.0.1", "localhost", "[::1]", *sorted(self.names)])
            raise Denied(
                denial(
                    421,
                    "host_not_own",
                    f"this server answers to {known}; if it has another name, start it with --allow-host NAME",
                )
            )
        if site.host in self.https and not site.is_https:
            return site_of(f"https://{host}")
        return site

    def _allows(self, host: str) -> bool:
        return is_loopback_name(host) or host in self.names or (self.any_address and literal(host) is not None)
