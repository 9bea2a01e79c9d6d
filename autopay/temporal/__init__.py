"""How Autopay and Temporal meet. For your own workflows:

    from autopay import temporal

    fetched = await temporal.fetch("https://api.example.com/report", max_price="0.01")

The rest is how Autopay itself talks to Temporal: connection, sealed payloads, search attributes, schedules, rollouts.
Each name is imported when it is used first: a command that only connects does not load the SDK's worker.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autopay.temporal.nexus.contract import ENDPOINT as ENDPOINT
    from autopay.temporal.nexus.contract import Answer as Answer
    from autopay.temporal.nexus.contract import AutopayService as AutopayService
    from autopay.temporal.nexus.contract import FailedFetch as FailedFetch
    from autopay.temporal.nexus.contract import Fetched as Fetched
    from autopay.temporal.nexus.contract import FetchInput as FetchInput
    from autopay.temporal.nexus.contract import Question as Question
    from autopay.temporal.nexus.failures import FetchFailed as FetchFailed
    from autopay.temporal.nexus.fetch import fetch as fetch
    from autopay.temporal.nexus.fetch import read as read
    from autopay.temporal.nexus.plugin import Plugin as Plugin

_CONTRACT = ("ENDPOINT", "Answer", "AutopayService", "FailedFetch", "FetchInput", "Fetched", "Question")
_PUBLIC = {
    **dict.fromkeys(_CONTRACT, "contract"),
    "FetchFailed": "failures",
    "fetch": "fetch",
    "read": "fetch",
    "Plugin": "plugin",
}

__all__ = sorted(_PUBLIC)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.nexus.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
