"""How Autopay and Temporal meet. For your own workflows:

    from autopay import temporal

    fetched = await temporal.fetch("https://api.example.com/report", max_price="0.01")

The rest is how Autopay itself talks to Temporal: connection, sealed payloads, search attributes, schedules, rollouts.
Importing this package loads none of it. `Plugin` is imported when it is named: a command that only connects does not
load the SDK's worker. The others are here from the start, as a workflow may import nothing while it runs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autopay.temporal.nexus.contract import ENDPOINT, Answer, AutopayService, FailedFetch, Fetched, FetchInput, Question
from autopay.temporal.nexus.failures import FetchFailed
from autopay.temporal.nexus.fetch import fetch, read

if TYPE_CHECKING:
    from autopay.temporal.nexus.plugin import Plugin

__all__ = [
    "ENDPOINT",
    "Answer",
    "AutopayService",
    "FailedFetch",
    "FetchFailed",
    "FetchInput",
    "Fetched",
    "Plugin",
    "Question",
    "fetch",
    "read",
]


def __getattr__(name: str) -> Any:
    if name == "Plugin":
        return import_module("autopay.temporal.nexus.plugin").Plugin
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
