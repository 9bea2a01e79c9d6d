"""How Autopay and Temporal meet. For your own workflows:

    from autopay import temporal

    fetched = await temporal.fetch("https://api.example.com/report", max_price="0.01")

The rest is how Autopay itself talks to Temporal: connection, sealed payloads, search attributes, schedules, rollouts.
Importing this package loads none of it.
"""

from autopay.temporal.nexus.contract import ENDPOINT, Answer, AutopayService, FailedFetch, Fetched, FetchInput, Question
from autopay.temporal.nexus.failures import FetchFailed
from autopay.temporal.nexus.fetch import fetch, read
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
