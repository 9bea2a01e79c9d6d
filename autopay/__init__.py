"""Autopay buys data from paid HTTP APIs (x402 on Solana), exactly once.

A program uses `autopay.Client` or `autopay.AsyncClient`, what `autopay.client` names, and the transports of
`autopay.httpx`, `autopay.httpx2` and `autopay.requests`. Importing this loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autopay.client import *  # noqa: F403

__version__ = "0.2.0"


_TRANSPORTS = frozenset(("httpx", "httpx2", "requests"))
"""Modules for other libraries, each of which needs that library."""


def __getattr__(name: str) -> Any:
    if name in _TRANSPORTS:
        return import_module(f"autopay.{name}")
    client = import_module("autopay.client")  # only a program that names something needs it
    if name not in client.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(client, name)


def __dir__() -> list[str]:
    client = import_module("autopay.client")
    return sorted({*globals(), *client.__all__, *_TRANSPORTS})
