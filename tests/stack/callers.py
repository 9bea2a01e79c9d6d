"""Workflows of another team, which know of Autopay what `autopay.temporal` exports."""

from datetime import timedelta
from typing import Any

from temporalio import workflow

import autopay.temporal

TASK_QUEUE = "other-team"


@workflow.defn
class Buys:
    """Fetches with those arguments; returns what it got, or how it failed."""

    @workflow.run
    async def run(self, url: str, options: dict[str, Any]) -> dict[str, Any]:
        """Status, price and content; or type, message and what the ledger has of it."""
        try:
            fetched = await autopay.temporal.fetch(url, **options)
        except autopay.temporal.FetchFailed as failed:
            request = failed.request
            return {
                "type": failed.type,
                "message": failed.message,
                "non_retryable": failed.non_retryable,
                "status": None if request is None else request.status,
            }
        return {
            "id": fetched.id,
            "status": fetched.status,
            "price": fetched.price,
            "data": fetched.json(),
            "read": (await autopay.temporal.read(fetched)).decode(),
            "content_of": fetched.content_of,
        }


@workflow.defn
class BuysTwice:
    """Buys the same twice, and then waits: to be reset, or for a signal that it may end."""

    def __init__(self) -> None:
        self.may_end = False

    @workflow.run
    async def run(self, url: str, options: dict[str, Any]) -> list[str]:
        """The ids of its two requests."""
        ids = [(await autopay.temporal.fetch(url, **options)).id for _ in range(2)]
        await workflow.wait_condition(lambda: self.may_end)
        return ids

    @workflow.signal
    def end(self) -> None:
        """It may end."""
        self.may_end = True


@workflow.defn
class FailsOnce:
    """Buys, fails, and is run again by its retry policy."""

    @workflow.run
    async def run(self, url: str, options: dict[str, Any]) -> str:
        """The id of its request in the second attempt."""
        fetched = await autopay.temporal.fetch(url, timeout=timedelta(minutes=1), **options)
        if workflow.info().attempt == 1:
            raise autopay.temporal.FetchFailed("not yet", "test", retryable=True)
        return fetched.id
