"""URLs and the hosts in them: the one place where they are read, compared with host rules, and written. Pure.

A host rule is `api.example.com`, `*.example.com` or `api.example.com:8443`.
"""

import ipaddress
import re
from urllib.parse import urlsplit

HOST_PATTERN = r"^(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?$|^\[[0-9a-f:]+\](:[0-9]{1,5})?$"
"""What a host rule may look like, in lower case; an IPv6 address is in brackets."""

_HOST_RULE = re.compile(HOST_PATTERN)
_PORT = re.compile(r":([0-9]{1,5})$")


# URLs

TOOL_MARK = "mcp-tool="
"""What the fragment of a URL begins with when a tool of an MCP server is meant: `https://host/mcp#mcp-tool=search`."""

_TOOL_NAME = re.compile(r"[A-Za-z0-9_./-]{1,128}")  # MCP, SEP-986; no escapes, so that a tool has one URL


def check_url(url: str) -> None:
    """See that a URL can be asked, stored and shown.

    Raises:
        ValueError: not http(s), no host, not printable ASCII, with a user and password, which would be shown, or with
            the mark of a tool and no tool's name.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url[:200]!r} is not an http(s) URL, like https://api.example.com/data")
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError("a URL is printable ASCII without spaces; escape the rest with %")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user and password would be shown: send them as a header")
    _ = parts.port  # a ValueError when it is none
    tool = tool_of(url)
    if tool is not None and not _TOOL_NAME.fullmatch(tool):
        raise ValueError(f"{tool[:130]!r} is not the name of an MCP tool: letters, digits and _ . / -, at most 128")


def tool_of(url: str) -> str | None:
    """The tool of an MCP server that the URL means; None: it means what HTTP means by it."""
    fragment = url.partition("#")[2]
    return fragment.removeprefix(TOOL_MARK) if fragment.startswith(TOOL_MARK) else None


def server_of(url: str) -> str:
    """The URL as it is sent: without its fragment."""
    return url.partition("#")[0]


def host_of(url: str) -> str:
    """Host and port as the URL has them, for summaries and messages."""
    return urlsplit(url).netloc.rpartition("@")[2]


def path_of(url: str) -> str:
    """The path of a URL, `/` when it has none."""
    return urlsplit(url).path or "/"


def origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an http(s) URL, default ports filled in; None when it has none (RFC 6454)."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts.scheme, parts.hostname.lower(), port or (443 if parts.scheme == "https" else 80)


def origin_text(url: str) -> str:
    """Scheme, host and port as one text with a slash at its end: `https://api.example.com:443/`."""
    return f"{url.partition('://')[0].lower()}://{host_and_port(url)}/"


def resource_of(method: str, url: str) -> str:
    """What has a price: method, origin and path, without the query; of an MCP server each tool by itself."""
    path = url.partition("://")[2].partition("?")[0].partition("#")[0].partition("/")[2]
    tool = tool_of(url)
    return f"{method} {origin_text(url)}{path}" + ("" if tool is None else f"#{TOOL_MARK}{tool}")


def host_and_port(url: str) -> str:
    """The host of a URL as rules and a day's limit know it: `api.example.com:443`, always with its port."""
    found = origin(url)
    assert found is not None, "a URL was checked when the request was accepted"
    return authority(*found[1:])


# Hosts


def authority(host: str, port: int) -> str:
    """Host and port as one text; IPv6 in brackets.

    One host has one such text, however a URL spells it: `API.example.com.` would else have a day's limit of its own,
    and an IPv6 address as many as there are ways to write it.
    """
    return f"{canonical_host(f'[{host}]' if ':' in host else host)}:{port}"


def canonical_host(name: str) -> str:
    """The one way to write a host without its port: lower case, no dot at its end, IPv6 as in RFC 5952 and in brackets.

    An IPv4 address in IPv6 notation is that IPv4 address, and a zone does not make another host.
    """
    plain = name.lower().rstrip(".")
    if not plain.startswith("["):
        return plain
    try:
        address = ipaddress.IPv6Address(plain.strip("[]").partition("%")[0])
    except ValueError:
        return plain
    return str(address.ipv4_mapped or f"[{address}]")


def parse_host_rule(text: str) -> str:
    """A host rule as a person writes it, in lower case.

    Raises:
        ValueError: it is none.
    """
    rule = text.strip().lower()
    if not _HOST_RULE.fullmatch(rule):
        raise ValueError(f"{text[:100]!r} is not a host like api.example.com, *.example.com or 127.0.0.1:8403")
    return rule


def matches(pattern: str, host: str) -> bool:
    """Whether a host, with its port if it has one, is meant by a rule.

    A rule without a port means every port. `*.example.com` means every name below example.com, not itself.
    """
    name, port = _split(host)
    wanted, wanted_port = _split(pattern)
    if wanted_port is not None and wanted_port != port:
        return False
    if wanted.startswith("*."):
        return name.endswith(wanted[1:]) and len(name) > len(wanted) - 1
    return name == wanted


def is_any_of(patterns: tuple[str, ...], host: str) -> bool:
    """Whether one of the rules means the host."""
    return any(matches(pattern, host) for pattern in patterns)


def _split(host: str) -> tuple[str, str | None]:
    lowered = host.lower()
    found = _PORT.search(lowered)
    if found is None:
        return canonical_host(lowered), None
    return canonical_host(lowered[: found.start()]), found[1]
