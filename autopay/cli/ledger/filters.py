"""Filter options of the ledger's reports, and what their values mean."""

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from autopay.cli.terminal.options import (
    WrongValue,
    agent_name,
    amount_or_zero,
    complete_currency,
    currency_of,
    shown,
)
from autopay.domain.payment.status import TransactionStatus
from autopay.domain.report.filter import Cursor, Filter
from autopay.domain.text import times
from autopay.domain.text.times import TIME_EXAMPLES

AgentOption = Annotated[str | None, typer.Option(help="Only this agent's.")]
EndpointOption = Annotated[
    str | None, typer.Option(help="Only this path; * and ? match any characters.", metavar="GLOB")
]
StatusOption = Annotated[list[str] | None, typer.Option(help="Only this status; repeatable.", metavar="STATUS")]
SinceOption = Annotated[str | None, typer.Option(help=f"From this time on, in UTC: {TIME_EXAMPLES}.", metavar="TIME")]
UntilOption = Annotated[str | None, typer.Option(help="Before this time.", metavar="TIME")]
MinOption = Annotated[str | None, typer.Option("--min", help="At least this amount, in token units.", metavar="AMOUNT")]
MaxOption = Annotated[str | None, typer.Option("--max", help="At most this amount.", metavar="AMOUNT")]
CurrencyOption = Annotated[
    str | None, typer.Option(autocompletion=complete_currency, help="Only this currency: USDC or CASH.")
]
LinesOption = Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV with a header.")]

_WORD = re.compile(r"[A-Za-z0-9_]{1,40}")


def filter_of(
    agent: str | None = None,
    endpoint: str | None = None,
    status: list[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    minimum: str | None = None,
    maximum: str | None = None,
    currency: str | None = None,
    *,
    payments: bool = True,
) -> Filter:
    """The filter that these option values make; with `payments`, a status is a payment's.

    Raises:
        typer.BadParameter: with what would be valid.
    """
    now = datetime.now(UTC)
    return Filter(
        agent=None if agent is None else agent_name(agent),
        endpoint=endpoint,
        statuses=tuple(_status(word, payments=payments) for word in status or ()),
        since=None if since is None else parse_time(since, now),
        until=None if until is None else parse_time(until, now),
        min_atomic=None if minimum is None else amount_or_zero(minimum),
        max_atomic=None if maximum is None else amount_or_zero(maximum),
        currency=None if currency is None else currency_of(currency),
    )


def parse_time(text: str, now: datetime) -> datetime:
    """A point in time: ISO 8601 (UTC when it names no zone), `today`, `yesterday`, `now`, or how long ago.

    Raises:
        typer.BadParameter: none of these.
    """
    try:
        return times.parse_moment(text, now)
    except ValueError as error:
        raise WrongValue(text, str(error)) from None


def cursor_of(text: str) -> str:
    """A cursor that the page before printed.

    Raises:
        typer.BadParameter: not one.
    """
    try:
        Cursor.parse(text)
    except ValueError:
        raise WrongValue(text, f"{shown(text)} is not a cursor: use the one that the page before printed") from None
    return text


def _status(word: str, *, payments: bool) -> str:
    if payments and word.upper() not in list(TransactionStatus):
        raise WrongValue(word, f"{shown(word)} is not a payment's status: {', '.join(TransactionStatus)}")
    if not _WORD.fullmatch(word):
        raise WrongValue(word, f"{shown(word)} is not a status")
    return word.upper()
