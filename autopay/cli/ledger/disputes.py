"""`ledger disputes`: requests that were paid and are undelivered."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, agent_name
from autopay.cli.terminal.tables import print_table
from autopay.client.requests.text import retry_command
from autopay.domain.money import show, units_text
from autopay.domain.payment.adoption import next_ask
from autopay.domain.report.rows import DisputeRow
from autopay.settings import Settings

PAGE = 500


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help("ledger disputes", "ledger disputes --agent trader --json")
    ledger.command("disputes", epilog=shown)(disputes)


def disputes(
    agent: Annotated[str | None, typer.Option(help="Only this agent's.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List undelivered requests: paid, without content.

    The newest come first. The transaction proves the payment. Sellers are asked again by themselves for a day, without
    paying again; `retry` asks at once.
    """
    name = None if agent is None else agent_name(agent)
    settings = Settings.load(home=home).resolve("database_url")
    ask_for = timedelta(seconds=settings.content_ask_later_s)
    rows = run_async(_disputes(settings, name))
    if as_json:
        print_json([_json(row, ask_for) for row in rows])
    elif not rows:
        note("everything that was paid is delivered")
    else:
        print_table(
            ("ended (UTC)", "agent", "request", "amount", "last answer", "asked again", "url", "transaction"),
            (_cells(row, ask_for) for row in rows),
        )
        for row in rows:
            if row.location is not None:
                note(f"{row.request_id}: the seller says that the content is at {row.location}", "yellow")
        first = rows[0]
        again = retry_command(first.agent, first.request_id or "")
        note(f"to ask a seller at once, without paying, for the first: {again}")


async def _disputes(settings: Settings, agent: str | None) -> Sequence[DisputeRow]:
    async with ledger_of(settings, agent) as opened:
        page = await opened.reports.disputes(agent, limit=PAGE)
        rows = list(page.rows)
        while page.next is not None:
            page = await opened.reports.disputes(agent, after=page.next, limit=PAGE)
            rows += page.rows
        return rows


def _json(row: DisputeRow, ask_for: timedelta) -> dict[str, object]:
    due = _next_ask(row, ask_for)
    known = row.model_dump(mode="json", exclude={"row_id", "amount_atomic", "sent_at"})
    return known | {"amount": units_text(row.amount_atomic), "next_ask_at": due.isoformat() if due else None}


def _next_ask(row: DisputeRow, ask_for: timedelta) -> datetime | None:
    """When the schedule asks the seller again; None when it does not."""
    if row.when is None or row.sent_at is None or row.refused:
        return None
    return next_ask(row.when, row.sent_at, ask_for)


def _asked_again(row: DisputeRow, ask_for: timedelta) -> str:
    if row.when is None:
        return "now, by its payment"
    if row.refused:
        return "no: it refuses for good"
    due = _next_ask(row, ask_for)
    return f"from {due:%F %H:%M} UTC" if due is not None else "no more"


def _cells(row: DisputeRow, ask_for: timedelta) -> Sequence[object]:
    answer = f"HTTP {row.http_status}" if row.http_status is not None else "none"
    when = f"{row.when:%F %T}" if row.when else None
    amount, again = show(row.amount_atomic, row.currency), _asked_again(row, ask_for)
    return (when, row.agent, row.request_id, amount, answer, again, row.url, row.transaction)
