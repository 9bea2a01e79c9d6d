"""Which rows are wanted, as a query says it: the words of `ledger show`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import Query

from autopay.client.asking import checked_agent
from autopay.client.errors import InvalidCall
from autopay.domain.money import Currency, to_atomic
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.report.filter import Filter
from autopay.domain.request import RequestStatus
from autopay.domain.text.times import TIME_EXAMPLES, parse_moment

T = TypeVar("T")

Agent = Annotated[str | None, Query(max_length=60, description="Only this agent's.", examples=["trader"])]
Endpoint = Annotated[
    str | None,
    Query(max_length=2048, description="Only this path; * and ? match any characters.", examples=["/api/*"]),
]
Since = Annotated[
    str | None, Query(max_length=60, description=f"From this time on, in UTC: {TIME_EXAMPLES}.", examples=["2h"])
]
Until = Annotated[str | None, Query(max_length=60, description="Before this time.", examples=["today"])]
Least = Annotated[
    str | None,
    Query(alias="min", max_length=40, description="At least this amount, in token units.", examples=["0.01"]),
]
Most = Annotated[str | None, Query(alias="max", max_length=40, description="At most this amount.", examples=["1"])]
Paid = Annotated[Currency | None, Query(description="Only this currency.")]
PaymentStatus = Annotated[
    list[TransactionStatus] | None, Query(alias="status", max_length=10, description="Only this status; repeatable.")
]
Word = Annotated[str, Query(pattern=r"^[A-Za-z0-9_]{1,40}$")]
AnyStatus = Annotated[
    list[Word] | None,
    Query(alias="status", max_length=10, description="Only this status; repeatable.", examples=[["delivered"]]),
]


def payment_filter(
    agent: Agent = None,
    endpoint: Endpoint = None,
    status: PaymentStatus = None,
    since: Since = None,
    until: Until = None,
    minimum: Least = None,
    maximum: Most = None,
    currency: Paid = None,
) -> Filter:
    """The filter of these query parameters, with statuses of payments.

    Raises:
        InvalidCall: one of them means nothing.
    """
    return filter_of(agent, endpoint, status, since, until, minimum, maximum, currency)


def request_filter(
    agent: Agent = None,
    endpoint: Endpoint = None,
    status: Annotated[
        list[RequestStatus] | None, Query(max_length=10, description="Only this status; repeatable.")
    ] = None,
    since: Since = None,
    until: Until = None,
    minimum: Least = None,
    maximum: Most = None,
    currency: Paid = None,
) -> Filter:
    """The filter of these query parameters, with statuses of requests."""
    return filter_of(agent, endpoint, status, since, until, minimum, maximum, currency)


def moment_of(name: str, text: str | None) -> datetime | None:
    """The time that this query parameter says.

    Raises:
        InvalidCall: none.
    """
    return _read(name, lambda given: parse_moment(given, datetime.now(UTC)), text)


def agent_of(name: str | None) -> str | None:
    """The agent that this query parameter names.

    Raises:
        InvalidCall: no agent can have that name.
    """
    return None if name is None else checked_agent(name)


def trail_filter(
    agent: Agent = None,
    endpoint: Endpoint = None,
    status: AnyStatus = None,
    since: Since = None,
    until: Until = None,
    minimum: Least = None,
    maximum: Most = None,
    currency: Paid = None,
) -> Filter:
    """The filter of these query parameters, with statuses of any kind of row."""
    return filter_of(agent, endpoint, status, since, until, minimum, maximum, currency)


def filter_of(
    agent: str | None,
    endpoint: str | None,
    status: Sequence[str] | None,
    since: str | None,
    until: str | None,
    minimum: str | None,
    maximum: str | None,
    currency: Currency | None,
) -> Filter:
    """The filter that these values make.

    Raises:
        InvalidCall: one of them means nothing.
    """
    now = datetime.now(UTC)
    if endpoint is not None and "\0" in endpoint:
        raise InvalidCall("endpoint: has a character that no path has", "wrong_argument")
    return Filter(
        agent=None if agent is None else checked_agent(agent),
        endpoint=endpoint,
        statuses=tuple(str(each).upper() for each in status or ()),
        since=_read("since", lambda text: parse_moment(text, now), since),
        until=_read("until", lambda text: parse_moment(text, now), until),
        min_atomic=_read("min", to_atomic, minimum),
        max_atomic=_read("max", to_atomic, maximum),
        currency=currency,
    )


def _read(name: str, parse: Callable[[str], T], text: str | None) -> T | None:
    try:
        return None if text is None else parse(text)
    except ValueError as error:
        raise InvalidCall(f"{name}: {error}", "wrong_argument") from None
