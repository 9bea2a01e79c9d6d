"""URLs of settings: whether one can be, and the WebSocket that goes with a node's."""

from urllib.parse import urlsplit


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


def websocket_url_of(rpc_url: str) -> str:
    """Where Solana clients look for the WebSocket of a node: at the next port when the URL names one. "" for none."""
    parts = urlsplit(rpc_url)
    netloc = parts.netloc
    if parts.port == 65_535:
        return ""
    if parts.port is not None:
        netloc = f"{netloc.rpartition(':')[0]}:{parts.port + 1}"
    return parts._replace(scheme=parts.scheme.replace("http", "ws"), netloc=netloc).geturl()
