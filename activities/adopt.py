"""Gives open requests their workflow back, and asks for what is owed: safe at any time and any number of times."""

from datetime import timedelta

from temporalio import activity

from autopay.domain.payment.adoption import MAX_ASKS, Adopted, AdoptFrom, UnfinishedRequests
from autopay.temporal.payments import start_payment
from autopay.temporal.redelivery import start_redelivery


class AdoptStep:
    """Starts `PaidRequest` for what the ledger has open; Temporal itself sees to it that there is one of each."""

    def __init__(self, requests: UnfinishedRequests, ask_for: timedelta) -> None:
        self._requests = requests
        self._ask_for = ask_for

    @activity.defn(name="adopt")
    async def adopt(self, batch: AdoptFrom) -> Adopted:
        """One batch; a request that ended meanwhile is started for nothing: it finds its end in the ledger."""
        rows = await self._requests.unfinished(
            older_than_s=batch.order.older_than_s, after=batch.after, limit=batch.order.batch
        )
        client, task_queue = activity.client(), activity.info().task_queue
        started = [
            row.order.request_key
            for row in rows
            if await start_payment(client, task_queue, row.order, summary_end=", adopted")
        ]
        if started:
            activity.logger.warning("adopted %d requests whose workflow was gone: %s", len(started), started)
        owed = await self._requests.owed(ask_for=self._ask_for, limit=MAX_ASKS)
        asked = [ref.order.request_key for ref in owed if await start_redelivery(client, task_queue, ref) is not None]
        full = len(rows) == batch.order.batch
        return Adopted(
            open_requests=len(rows),
            started=tuple(started),
            asked=tuple(asked),
            next_after=rows[-1].row_id if rows and full else None,
        )
