"""A request's head as the checks read it. Names of headers are in lower case; more than one value is no value."""

import ipaddress
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from autopay.api.access.denials import Denied, denial

HttpScope = MutableMapping[str, Any]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, section 9.2.1); every other one is an action."""

_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_BROWSER_HEADERS = ("origin", "sec-fetch-site", "sec-fetch-mode", "cookie", "referer")


class RequestHead:
    """Method, path and headers of one request.

    Raises:
        Denied: a header that decides who asks is there twice.
    """

    def __init__(self, scope: HttpScope) -> None:
        self.method: str = scope["method"].upper()
        self.path: str = scope["path"]
        self.scheme: str = scope.get("scheme") or "http"
        self._is_http_1_0 = scope.get("http_version") == "1.0"
        client = scope.get("client")
        self.address: str = client[0] if client else "unknown"
        self.network = _network_of(self.address)
        self._headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        for name in ("host", "origin", "authorization", "sec-fetch-site", "x-csrf-token", "content-type"):
            if len(self._headers.get(name, ())) > 1:
                raise Denied(denial(400, "header_twice", f"the header {name} is there more than once"))

    def header(self, name: str) -> str | None:
        """The value of that header; None when it is not there."""
        values = self._headers.get(name)
        return None if values is None else values[0].strip()

    @property
    def is_action(self) -> bool:
        """Whether it may change something."""
        return self.method not in SAFE_METHODS

    @property
    def is_from_browser(self) -> bool:
        """Whether a browser sends it, as far as its headers say so; those of a page cannot be left out by that page."""
        return any(name in self._headers for name in _BROWSER_HEADERS)

    @property
    def is_from_proxy(self) -> bool:
        """Whether it has come through a proxy, so that its sender may be anywhere.

        nginx as it is installed says so by no header, names this server as `Host`, and speaks HTTP/1.0.
        """
        return self._is_http_1_0 or any(name in self._headers for name in _PROXY_HEADERS)

    @property
    def wants_page(self) -> bool:
        """Whether a person looks at the answer in a browser."""
        accepts = self.header("accept") or ""
        return self.method in ("GET", "HEAD") and "text/html" in accepts and not self.path.startswith("/api/")

    @property
    def media_type(self) -> str:
        """The type of the body, in lower case and without parameters."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def bearer(self) -> str | None:
        """The token in `Authorization: Bearer`; None when there is none."""
        scheme, _, token = (self.header("authorization") or "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    def cookie(self, name: str) -> str | None:
        """The cookie of that name; None also when there are two, as somebody else has set one of them."""
        values = [
            value
            for line in self._headers.get("cookie", ())
            for pair in line.split(";")
            for key, equals, value in [pair.strip().partition("=")]
            if equals and key == name
        ]
        return values[0] if len(values) == 1 else None


def _network_of(address: str) -> str:
    """What attempts from an address are counted by: all addresses of one IPv6 network are one household's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else address


def parameters(head: RequestHead, body: bytes) -> Mapping[str, str]:
    """The fields of a form that is sent as a URL's query would be; of a field that is there twice, none."""
    if head.media_type != "application/x-www-form-urlencoded":
        return {}
    try:
        fields = parse_qs(body.decode("utf-8"), keep_blank_values=True, max_num_fields=200)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items() if len(values) == 1}
