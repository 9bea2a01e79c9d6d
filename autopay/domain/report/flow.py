"""How far a request has come on its way through the six steps: fetch, parse, sign, submit, verify, log. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from autopay.domain.money import Currency
from autopay.domain.request import RequestStatus
from autopay.domain.values import Value

STEPS = ("fetch", "parse", "sign", "submit", "verify", "log")


class FlowRow(Value):
    """A request that has begun, or has ended not long ago, with its last payment.

    `at` is when it was asked for, `ended_at` when nothing could change any more. `outcome` is a `RequestStatus`. The
    fields from `number` on are the last payment's, None without one.
    """

    key: str
    agent: str
    request_id: str | None
    url: str | None
    endpoint: str
    at: datetime
    ended_at: datetime | None
    outcome: str | None
    delivery: str
    has_terms: bool
    waits_for_person: bool
    http_status: int | None
    error_code: str | None
    error_message: str | None
    number: int | None
    sends: int | None
    status: str | None
    last_answer: str | None
    payment_error: str | None
    amount_atomic: int | None
    currency: Currency | None


class Mark(StrEnum):
    """How a step is shown."""

    DONE = "done"
    NOW = "now"
    WAIT = "wait"
    FAIL = "fail"
    LEFT_OUT = ""
    """Not reached, or not needed."""


class Step(NamedTuple):
    """One of the six, and how it is shown."""

    name: str
    mark: Mark


def steps_of(row: FlowRow) -> tuple[Step, ...]:
    """The six steps of a request, each with its mark."""
    marks = _ended(row) if row.ended_at is not None else _under_way(row)
    return tuple(Step(name, mark) for name, mark in zip(STEPS, marks, strict=True))


def _under_way(row: FlowRow) -> list[Mark]:
    done = _steps_done(row)
    current = Mark.WAIT if row.waits_for_person or row.status == "RETRYING" else Mark.NOW
    return [Mark.DONE] * done + [current] + [Mark.LEFT_OUT] * (len(STEPS) - done - 1)


def _steps_done(row: FlowRow) -> int:
    """How many of the steps are behind it."""
    if row.number is None or row.status == "FAILED":  # the next payment, if any, begins with the terms
        return 2 if row.has_terms else 0
    if row.status == "VERIFIED":
        return 5
    if row.last_answer is not None or row.status == "SUCCESS":
        return 4
    return 3


def _ended(row: FlowRow) -> list[Mark]:
    done, left_out, fail = Mark.DONE, Mark.LEFT_OUT, Mark.FAIL
    match row.outcome:
        case RequestStatus.DELIVERED:
            return [done] * 6
        case RequestStatus.UNDELIVERED:
            return [done, done, done, fail, done, done]
        case RequestStatus.FREE:
            return [done, left_out, left_out, left_out, left_out, done]
        case RequestStatus.FRESH:
            return [left_out] * 5 + [done]
        case _ if row.number is not None:
            return [done, done, done, done, fail, done]
        case _:
            return [done, fail, left_out, left_out, left_out, done]


def flow_tone(row: FlowRow) -> str:
    """`good`, `bad`, `warn` or `busy`, for its colour."""
    if row.ended_at is None:
        return "warn" if row.waits_for_person or row.status == "RETRYING" else "busy"
    good = (RequestStatus.DELIVERED, RequestStatus.FREE, RequestStatus.FRESH)
    return "good" if row.outcome in good else "bad"


def flow_text(row: FlowRow) -> str:
    """Where it is, in a sentence."""
    return _end_text(row) if row.ended_at is not None else _progress_text(row)


def _progress_text(row: FlowRow) -> str:
    if row.waits_for_person:
        return "waits for a person's approval; nothing is signed"
    if row.number is None:
        return "terms are read" if row.has_terms else "the seller is asked for its terms"
    if row.status == "FAILED":
        return f"payment {row.number} failed ({row.payment_error}): it cost nothing"
    if row.status == "VERIFIED":
        return "paid, and the content has not come yet: the seller is asked again with the same payment"
    if row.delivery == "DELIVERED":
        return "delivered; waits for the chain to make the payment final"
    if row.status == "SUCCESS":
        return "paid; waits for content and finality"
    if row.last_answer is not None:
        return f"the seller answered {row.last_answer.replace('_', ' ')}: waits for what the chain says"
    if row.sends and row.sends > 1:
        return f"sent {row.sends} times, always the same signed bytes; waits for the seller's answer"
    return "signed and handed to the seller" if row.sends else "signed, recorded, about to leave"


def _end_text(row: FlowRow) -> str:
    match row.outcome:
        case RequestStatus.DELIVERED:
            return "delivered, paid once, final on chain"
        case RequestStatus.FREE:
            return "free: the seller asked for nothing"
        case RequestStatus.FRESH:
            return "answered from the ledger: nothing was bought"
        case RequestStatus.UNDELIVERED:
            return "paid, not delivered" + (f" (HTTP {row.http_status})" if row.http_status else "")
        case RequestStatus.REFUSED:
            return f"refused, nothing was paid: {row.error_message or row.error_code}"
        case _:
            return f"failed, nothing was paid: {row.error_message or row.error_code or row.payment_error}"
