"""Starts the workflows of the payments that an agent begins in one turn, concurrently."""

import asyncio
from collections.abc import Sequence

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.domain.agent.steps import NotStarted, StartBatch
from autopay.domain.errors import TransientFault
from autopay.domain.payment.steps import PaymentOrder
from autopay.temporal.payments import start_payment

MAX_CONCURRENT_STARTS = 32
"""More would only wait in the Temporal server."""

_REFUSED = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.PERMISSION_DENIED)


class TemporalUnavailable(TransientFault):
    """Temporal does not start workflows at the moment."""


class StartPayments:
    """Starts `PaidRequest` workflows for agents; by their ids Temporal allows one open run of each."""

    @activity.defn(name="start_payments")
    async def start_payments(self, batch: StartBatch) -> list[NotStarted]:
        """Start them all; returns those that Temporal refuses to start.

        A retry leaves alone what the try before has started.

        Raises:
            TemporalUnavailable: at least one could not be started now; the others were started.
        """
        failed = await start_all(activity.client(), activity.info().task_queue, batch.orders)
        for _, error in failed:
            if error.status not in _REFUSED:
                raise TemporalUnavailable(error.message)
        return [NotStarted(request_id=order.request_id, message=error.message) for order, error in failed]


async def start_all(
    client: Client, task_queue: str, orders: Sequence[PaymentOrder]
) -> list[tuple[PaymentOrder, RPCError]]:
    """Start them all, a limited number at a time; returns those that could not be started, and why."""
    slots = asyncio.Semaphore(MAX_CONCURRENT_STARTS)

    async def start(order: PaymentOrder) -> RPCError | None:
        async with slots:
            return await _start(client, task_queue, order)

    errors = await asyncio.gather(*(start(order) for order in orders))
    return [(order, error) for order, error in zip(orders, errors, strict=True) if error is not None]


async def _start(client: Client, task_queue: str, order: PaymentOrder) -> RPCError | None:
    try:
        await start_payment(client, task_queue, order, eagerly=True)
    except RPCError as error:
        return error
    return None
