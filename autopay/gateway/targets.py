"""What the reverse door is asked for, what it asks the seller, and what of the answer goes back. Pure."""

from collections.abc import Iterable
from urllib.parse import urljoin

from autopay.client.errors import InvalidCall
from autopay.client.paid_http import IDEMPOTENCY_KEY, OWN_HEADERS_PREFIX, header_text
from autopay.domain.text.hosts import origin
from autopay.gateway.gate import PREFIX_KEY, TOKEN_IN_HEADER_KEY, Scope
from autopay.transport.demand import headers_to_seller

DOOR = b"/p/"

RawHeaders = list[tuple[bytes, bytes]]

_HOP_BY_HOP = frozenset(
    each.encode()
    for each in (
        "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade",
    )
)  # fmt: skip
"""RFC 9110, section 7.6.1: of one connection only."""

_OF_CALLER = frozenset((b"host", b"content-length", b"expect", IDEMPOTENCY_KEY.encode()))
_OF_CONNECTION = frozenset((b"set-cookie", b"strict-transport-security", b"alt-svc", b"clear-site-data"))
"""What a seller says to its own host name, and would be taken as said by the gateway for all sellers."""


def target_url(scope: Scope) -> str:
    """The URL that the path means: `/p/https/host[:port]/path?query`, byte for byte.

    Raises:
        InvalidCall: it means none.
    """
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    scheme, slash, rest = path.removeprefix(DOOR).partition(b"/")
    if scheme not in (b"http", b"https") or not slash or not rest or rest.startswith(b"/"):
        raise InvalidCall("the path is not like /p/https/api.example.com/v1/data", "unknown_path")
    host, _, path = rest.partition(b"/")
    query: bytes = scope["query_string"]
    url = b"%s://%s/%s%s" % (scheme, host, path, b"?" + query if query else b"")
    try:
        return url.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidCall("the URL is not ASCII: escape the rest with %") from None


def headers_passed_on(scope: Scope) -> RawHeaders:
    """The caller's headers without those of the connection, and without those for Autopay."""
    given: RawHeaders = scope["headers"]
    dropped = _HOP_BY_HOP | _OF_CALLER | _named_by_connection(given)
    own = OWN_HEADERS_PREFIX.encode()
    return [(name, value) for name, value in given if name not in dropped and not name.startswith(own)]


def headers_for_agent(raw: RawHeaders) -> dict[str, str]:
    """The same for an agent, which sends them with a payment: each name once.

    Raises:
        InvalidCall: one of them is no text.
    """
    try:
        return headers_to_seller([(name.decode("ascii"), header_text(value)) for name, value in raw])
    except UnicodeDecodeError:
        raise InvalidCall("a header's name is not ASCII") from None


def headers_to_caller(raw: Iterable[tuple[bytes, bytes]], url: str, scope: Scope) -> RawHeaders:
    """The seller's headers as they came, without those of the connection, and with a redirect that leads back here.

    A redirect to another origin leads there directly: clients then leave away what is meant for the first. They do not
    so with a header of ours: to a caller that sends the token in one, the address is told in a way that none follows.
    """
    given = [(name.lower(), value) for name, value in raw]
    dropped = _HOP_BY_HOP | _OF_CONNECTION | _named_by_connection(given)
    return [
        _redirect(value, url, scope) if name == b"location" else (name, value)
        for name, value in given
        if name not in dropped
    ]


def _redirect(value: bytes, url: str, scope: Scope) -> tuple[bytes, bytes]:
    elsewhere = b"autopay-location" if scope.get(TOKEN_IN_HEADER_KEY) else b"location"
    try:
        led = urljoin(url, header_text(value))
        same = origin(led) == origin(url)
    except ValueError:
        return elsewhere, value
    if not same:
        return elsewhere, led.encode()
    scheme, _, rest = led.partition("://")
    prefix: bytes = scope.get(PREFIX_KEY, b"")
    return b"location", prefix + DOOR + f"{scheme}/{rest}".encode()


def _named_by_connection(raw: RawHeaders) -> frozenset[bytes]:
    values = (value for name, value in raw if name == b"connection")
    return frozenset(each.strip().lower() for value in values for each in value.split(b","))
