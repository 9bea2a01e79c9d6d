"""Autopay buys data from paid HTTP APIs (x402 on Solana), exactly once.

A program uses `autopay.Client` or `autopay.AsyncClient`, and what `autopay.client` names. Importing this loads nothing
else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autopay.client import *  # noqa: F403

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    client = import_module("autopay.client")  # only a program that names something needs it
    if name not in client.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(client, name)


def __dir__() -> list[str]:
    client = import_module("autopay.client")
    return sorted({*globals(), *client.__all__})
