"""`Notice`: the signal that a payment sends to its agent."""

from typing import Literal

from autopay.domain.money import Currency
from autopay.domain.request import RequestStatus
from autopay.domain.values import StrictValue

Held = Literal["approval", "chain"]
"""What a request that has begun can wait for without a slot: a person's decision, or an answer of the chain."""


class Notice(StrictValue):
    """A `PaidRequest` was answered (`final` false), or its payment is final on chain or proven not settled.

    Status WAITING: the request is `held` before anything was signed, or (`held` None) no longer. `error` is the stable
    name of what ended it without content, or of the fault that holds it. `http_status` is the seller's last answer, if
    it gave one.
    """

    request_id: str
    status: RequestStatus
    final: bool
    held: Held | None = None
    error: str | None = None
    http_status: int | None = None
    currency: Currency | None = None
    amount_atomic: int = 0
    transaction: str | None = None
    message: str | None = None
