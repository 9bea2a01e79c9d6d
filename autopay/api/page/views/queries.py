"""What a view's address asks for; a form sends its empty fields as well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, NamedTuple

from fastapi import Depends, Query

from autopay.api.filters import filter_of
from autopay.api.paging import checked_cursor
from autopay.client.errors import InvalidCall
from autopay.domain.money import Currency, parse_currency
from autopay.domain.report.filter import Filter

Text = Annotated[str, Query(max_length=200)]
After = Annotated[str, Query(max_length=200)]

SPANS = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}
"""Spans of time that views of sums and charts offer."""


class Wanted(NamedTuple):
    """Which rows, and the words that said so, for the form."""

    rows: Filter
    words: dict[str, str]
    after: str | None

    @property
    def is_filtered(self) -> bool:
        """Whether anything is left out."""
        return any(self.words.values())


async def wanted_rows(
    agent: Text = "",
    endpoint: Text = "",
    status: Text = "",
    since: Text = "",
    until: Text = "",
    currency: Text = "",
    after: After = "",
) -> Wanted:
    """The filter of a list.

    Raises:
        InvalidCall: a word means nothing.
    """
    words = {"agent": agent, "endpoint": endpoint, "status": status, "since": since, "until": until}
    given = {name: word.strip() or None for name, word in words.items()}
    paid_in = _currency(currency) if currency.strip() else None
    statuses = [given["status"]] if given["status"] else None
    rows = filter_of(given["agent"], given["endpoint"], statuses, given["since"], given["until"], None, None, paid_in)
    return Wanted(rows, words | {"currency": currency}, checked_cursor(after or None))


def _currency(text: str) -> Currency:
    try:
        return parse_currency(text)
    except ValueError as error:
        raise InvalidCall(f"currency: {error}", "wrong_argument") from None


RowsWanted = Annotated[Wanted, Depends(wanted_rows)]


class Span(NamedTuple):
    """A span of time until now, and its name."""

    name: str
    since: datetime


async def wanted_span(span: Annotated[str, Query(max_length=10)] = "24h") -> Span:
    """The span; a day when the name is none."""
    name = span if span in SPANS else "24h"
    return Span(name, datetime.now(UTC) - SPANS[name])


SpanWanted = Annotated[Span, Depends(wanted_span)]
