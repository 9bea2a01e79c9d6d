"""Step 6, and its mirror: close a request in the ledger; recall how one stands."""

from collections.abc import Awaitable, Callable

from temporalio import activity

from activities.sign import summary_of
from autopay.domain.errors import LedgerUnavailable
from autopay.domain.payment.notice import Announcement
from autopay.domain.payment.payment import settled_sends_for
from autopay.domain.payment.ports import Ledger
from autopay.domain.payment.steps import LogInput, PaymentOrder, RecallResult
from autopay.domain.request import CLOSED


class LogStep:
    """Begins and ends a request in the ledger.

    Args:
        ask_for_s: how long a seller is asked for what has settled, until the request ends as undelivered.
        announce: hands a notice to the outbox.
    """

    def __init__(self, ledger: Ledger, ask_for_s: float, announce: Callable[[Announcement], Awaitable[None]]) -> None:
        self._ledger = ledger
        self._announce = announce
        self._max_settled_sends = settled_sends_for(round(ask_for_s * 1000))

    @activity.defn(name="recall")
    async def recall(self, order: PaymentOrder) -> RecallResult:
        """How the request stands: the ledger knows even when Temporal has forgotten. Takes it from the queue."""
        record = await self._ledger.requests.get(order.request_key)
        payment = await self._ledger.payments.recall(order.request_key)
        newest = None
        if payment.attempts:
            newest = await self._ledger.payments.attempt(order.request_key, len(payment.attempts))
            if newest is None:  # a restore came between the two questions
                raise LedgerUnavailable(f"{order.request_key} is not what it was a moment ago")
        closed = record.result if record.result.status in CLOSED and record.closed else None
        if closed is None:
            await self._ledger.requests.begin(order.request_key)
        payment = payment.model_copy(update={"max_settled_sends": self._max_settled_sends})
        return RecallResult(
            payment=payment, signed=summary_of(newest, self._max_settled_sends) if newest else None, closed=closed
        )

    @activity.defn(name="log")
    async def log(self, closing: LogInput) -> None:
        """Book what the chain showed, and close the request; the first end stands."""
        await self._ledger.requests.close(closing.order.request_key, closing.result, closing.settled)
        if closing.notice is not None:
            await self._announce(Announcement(agent=closing.order.agent, notice=closing.notice))
