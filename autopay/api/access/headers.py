"""Headers of every answer, which keep browsers from doing with it what was not meant."""

import secrets
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

from autopay.api.access.sites import Site

Headers = list[tuple[bytes, bytes]]

NONCE_BYTES = 18
TRUSTED_TYPES = "htmx"
"""Names of the Trusted Types policies that the page's scripts may make."""

_ALWAYS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: with that a browser sends the page's own forms with `Origin: null`.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HSTS = "max-age=31536000"


def new_nonce() -> str:
    """What the page's own scripts and styles of one answer show."""
    return secrets.token_urlsafe(NONCE_BYTES)


def page_policy(nonce: str) -> str:
    """The Content-Security-Policy of a page."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'nonce-{nonce}'",
            f"style-src 'self' 'nonce-{nonce}'",
            "img-src 'self' data:",
            "font-src 'self'",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            f"trusted-types {TRUSTED_TYPES}",
        )
    )


def with_security(headers: Iterable[tuple[bytes, bytes]], nonce: str, site: Site | None) -> Headers:
    """An answer's headers and those of every answer; of its own it may have only how long it may be kept."""
    own = [(name.lower(), value) for name, value in headers]
    there = dict(own)
    is_page = there.get(b"content-type", b"").startswith(b"text/html")
    added: MutableMapping[str, str] = dict(_ALWAYS)
    added["content-security-policy"] = page_policy(nonce) if is_page else _NOTHING
    if b"cache-control" not in there:
        added["cache-control"] = "no-store"
    if site is not None and site.is_https and not site.is_loopback:
        added["strict-transport-security"] = _HSTS
    kept = [each for each in own if each[0].decode("latin-1") not in added]
    return [*kept, *((name.encode(), value.encode()) for name, value in added.items())]


def secured(message: MutableMapping[str, Any], nonce: str, site: Site | None) -> MutableMapping[str, Any]:
    """A message of an answer's start with these headers; any other one as it is."""
    if message["type"] != "http.response.start":
        return message
    return {**message, "headers": with_security(message.get("headers", ()), nonce, site)}
