"""The secrets of this process, which no log line may show."""

from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from autopay.settings.settings import Settings

KEY_LENGTH = 16
"""A part of a node's path that is as long is taken for the caller's key with that provider."""


def known_secrets(settings: Settings) -> Iterator[str]:
    """Every key, password and token among the settings, whole and as it stands in URLs."""
    yield settings.gateway_token.get_secret_value()
    yield from (part.split(":", 1)[-1].strip() for part in settings.keyring.get_secret_value().split(","))
    nodes = (settings.solana_rpc_url, settings.solana_ws_url, *settings.facilitators)
    for url in (settings.database_url, settings.read_database_url, settings.gateway, *nodes):
        yield from _secrets_of_url(url)


def _secrets_of_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    if parts.password:
        yield parts.password
        yield unquote(parts.password)
    yield from (value for name, value in parse_qsl(parts.query) if name not in ("sslmode", "host", "options"))
    yield from (part for part in parts.path.split("/") if len(part) >= KEY_LENGTH)
