"""Step 6, and its mirror: close a request in the ledger; recall how one stands."""

from collections.abc import Awaitable, Callable

import structlog
from temporalio import activity

from activities.sign import summary_of
from autopay.domain.errors import LedgerUnavailable
from autopay.domain.payment.notice import Announcement
from autopay.domain.payment.payment import settled_sends_for
from autopay.domain.payment.ports import Ledger
from autopay.domain.payment.steps import LogInput, PaymentOrder, RecallResult
from autopay.domain.request import CLOSED, RequestStatus
from autopay.domain.text.hosts import authority, origin
from autopay.metrics import labels
from autopay.metrics.recording import count
from autopay.metrics.table import PAID, REQUESTS_ENDED

logger = structlog.get_logger("autopay.payments")


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
        seller = _seller(closing.order.url)
        _count_end(closing, seller)
        _tell_end(closing, seller)


def _seller(url: str) -> str:
    """Host and port of the URL, one text for one host."""
    found = origin(url)
    return labels.OTHER if found is None else authority(*found[1:])


def _count_end(closing: LogInput, host: str) -> None:
    """Count how the request ended; a try that failed before has counted nothing."""
    order, result = closing.order, closing.result
    is_paid = result.transaction is not None
    agent, seller = labels.AGENTS.of(order.agent), (labels.SELLERS.of if is_paid else labels.SELLERS.known)(host)
    count(REQUESTS_ENDED, agent=agent, seller=seller, outcome=result.status.value)
    if is_paid and result.price_atomic and result.currency is not None:
        count(PAID, result.price_atomic, agent=agent, seller=seller, currency=result.currency.value)


def _tell_end(closing: LogInput, seller: str) -> None:
    """Write the request's one line: what became of it, at which price; paid without content is a warning."""
    order, result = closing.order, closing.result
    fields = {
        "agent": order.agent,
        "request_id": order.request_id,
        "workflow_id": result.workflow_id,
        "status": result.status.value,
        "seller": seller,
        "price_atomic": result.price_atomic,
        "currency": None if result.currency is None else result.currency.value,
        "transaction": result.transaction,
        "error": None if result.error is None else result.error.type,
        "attempts": result.attempts or None,
    }
    tell = logger.warning if result.status is RequestStatus.UNDELIVERED else logger.info
    tell("request ended", **{name: value for name, value in fields.items() if value is not None})
