"""What other programs import: `Client`, `AsyncClient`, what they return, and the errors that they raise.

Each is imported when it is named first: a program that only catches an error loads no database library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autopay.client.async_client import AsyncClient as AsyncClient
    from autopay.client.client import Client as Client
    from autopay.client.errors import AutopayError as AutopayError
    from autopay.client.errors import CallFailed as CallFailed
    from autopay.client.errors import InvalidCall as InvalidCall
    from autopay.client.errors import Misconfigured as Misconfigured
    from autopay.client.errors import NotBought as NotBought
    from autopay.client.errors import NotDecided as NotDecided
    from autopay.client.errors import PurchaseFailed as PurchaseFailed
    from autopay.client.errors import PurchaseRefused as PurchaseRefused
    from autopay.client.errors import PurchaseUndelivered as PurchaseUndelivered
    from autopay.client.errors import PurchaseUnfinished as PurchaseUnfinished
    from autopay.client.errors import TermsDiffer as TermsDiffer
    from autopay.client.errors import Unreachable as Unreachable
    from autopay.client.values import Budget as Budget
    from autopay.client.values import PaymentSummary as PaymentSummary
    from autopay.client.values import Purchase as Purchase
    from autopay.client.values import Quote as Quote
    from autopay.client.values import Receipt as Receipt

_ERRORS = (
    "AutopayError",
    "CallFailed",
    "InvalidCall",
    "Misconfigured",
    "NotBought",
    "NotDecided",
    "PurchaseFailed",
    "PurchaseRefused",
    "PurchaseUndelivered",
    "PurchaseUnfinished",
    "TermsDiffer",
    "Unreachable",
)
_VALUES = ("Budget", "PaymentSummary", "Purchase", "Quote", "Receipt")
_PUBLIC = {
    "AsyncClient": "async_client",
    "Client": "client",
    **dict.fromkeys(_ERRORS, "errors"),
    **dict.fromkeys(_VALUES, "values"),
}

__all__ = sorted(_PUBLIC)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
