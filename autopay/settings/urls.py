"""URLs and addresses of settings: whether one can be, and the WebSocket that goes with a node's."""

import ipaddress
import re
from urllib.parse import urlsplit

LOOPBACK = "127.0.0.1"

_ADDRESS = re.compile(r"(?:(?P<host>[0-9.]+|\[[0-9A-Fa-f:.]+\]|localhost):)?(?P<port>[0-9]{1,5})", re.ASCII)


def checked_url(value: str, schemes: tuple[str, ...]) -> str:
    """The URL, when it can be one. No message quotes any of it: it may hold a key, wherever that is."""
    value = value.strip()
    if not value:
        return value
    if not value.startswith(schemes):
        raise ValueError(f"should start with {' or '.join(schemes)}")
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError("should be printable ASCII without spaces; write the rest with %")
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError("is not a URL") from None
    if not parts.hostname:
        raise ValueError("has no host")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is not a number from 0 to 65535") from None
    return value


def checked_address(value: str) -> str:
    """The address to listen at, `127.0.0.1:9464` or `[::1]:9464`; of a port alone, on loopback. "" stays "".

    Raises:
        ValueError: it is none.
    """
    value = value.strip()
    if not value:
        return value
    found = _ADDRESS.fullmatch(value)
    if found is None:
        raise ValueError("should look like 127.0.0.1:9464, an IP address and a port, or like 9464")
    host = {None: LOOPBACK, "localhost": LOOPBACK}.get(found["host"], found["host"])
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise ValueError(f"{host} is not an IP address") from None
    if int(found["port"]) > 65_535:
        raise ValueError("has a port that is not a number from 0 to 65535")
    return f"{host}:{int(found['port'])}"


def websocket_url_of(rpc_url: str) -> str:
    """Where Solana clients look for the WebSocket of a node: at the next port when the URL names one. "" for none."""
    parts = urlsplit(rpc_url)
    netloc = parts.netloc
    if parts.port == 65_535:
        return ""
    if parts.port is not None:
        netloc = f"{netloc.rpartition(':')[0]}:{parts.port + 1}"
    return parts._replace(scheme=parts.scheme.replace("http", "ws"), netloc=netloc).geturl()
