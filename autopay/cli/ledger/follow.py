"""`ledger follow`: the ledger as it grows, like `tail -f`; and an event of the ledger as one line of text."""

from collections.abc import Iterator
from contextlib import aclosing
from typing import Annotated

import typer

from autopay.adapters.postgres.reports.events import START, LedgerEvent, parse_cursor
from autopay.cli.connect.connections import known_agent, ledger_of
from autopay.cli.connect.console import note, print_json, print_line
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.exit_codes import examples_help
from autopay.cli.connect.options import HomeOption, agent_name
from autopay.cli.ledger.filters import AgentOption, LinesOption
from autopay.cli.ledger.output import quiet_broken_pipe
from autopay.domain.errors import LedgerUnavailable
from autopay.domain.money import show
from autopay.settings import Settings

_NAMES = {"api_request_logs": "request", "counterparties": "payee", "policies": "policy"}
_LEFT_OUT = frozenset({"updated_at", "sent_at", "id", "agent_id"})


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help(
        "ledger follow", "ledger follow --agent trader --tail 20", "ledger follow --since 734:1021 --json"
    )
    ledger.command("follow", epilog=shown)(follow)


def follow(
    agent: AgentOption = None,
    since: Annotated[
        str | None, typer.Option(help="Start after this event; `start` prints everything.", metavar="CURSOR")
    ] = None,
    tail: Annotated[int, typer.Option(min=0, max=1_000, help="How many of the last events to print first.")] = 10,
    home: HomeOption = None,
    as_json: LinesOption = False,
) -> None:
    """Print changes of the ledger as they happen, until Ctrl-C.

    Each committed change is printed once, also when the database restarts. With --json each line has its cursor.
    """
    name = None if agent is None else agent_name(agent)
    cursor = None if since is None else _cursor(since)
    settings = Settings.load(home=home).resolve("database_url")
    with quiet_broken_pipe():
        run_async(_follow(settings, name, cursor, tail, as_json))


async def _follow(settings: Settings, agent: str | None, cursor: str | None, tail: int, as_json: bool) -> None:
    async with ledger_of(settings) as ledger:
        if agent is not None:
            await known_agent(ledger, agent)
        await ledger.maintenance.check_schema()
        async with aclosing(
            ledger.events.follow(after=cursor, tail=tail, agent=agent, on_outage=_note_outage)
        ) as events:
            async for event in events:
                _print(event, as_json)


def _print(event: LedgerEvent, as_json: bool) -> None:
    if as_json:
        print_json(event)
    else:
        print_line(event_line(event))


def _note_outage(fault: LedgerUnavailable) -> None:
    note(f"{fault}; trying again", "yellow")


def _cursor(text: str) -> str:
    if text == "start":
        return START
    try:
        parse_cursor(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a cursor: take one from --json, or `start`") from None
    return text


def event_line(event: LedgerEvent) -> str:
    """Like `12:00:01  trader  market-2026  submitted, 0.001 USDC → RETRYING`; times are UTC."""
    subject = event.request_id or _name_of(event.kind)
    return "  ".join((f"{event.at:%T}", event.agent or "-", subject, describe_event(event)))


def describe_event(event: LedgerEvent) -> str:
    """What happened."""
    table, _, verb = event.kind.partition(".")
    match table, verb:
        case "transactions", "created" | "adopted":
            return f"{_signed(event)}, {_amount(event)} → {event.values.get('status')}"
        case "transactions", _:
            return _moved(event)
        case "api_request_logs", "created" | "adopted":
            return f"asked for {event.values.get('endpoint')}"
        case "api_request_logs", _:
            return ", ".join(_requested(event)) or "noted"
        case _, "changed":
            changes = (_change(name, value) for name, value in event.values.items() if name not in _LEFT_OUT)
            return ", ".join(changes) or "changed"
        case _:
            status = event.values.get("status") or event.values.get("name") or event.values.get("pay_to")
            return f"{verb}{f', {status}' if status else ''}"


def _change(name: str, value: object) -> str:
    return f"{name} changed" if isinstance(value, dict | list) else f"{name} → {value}"


def _signed(event: LedgerEvent) -> str:
    number = event.values.get("attempt_number")
    return f"signed, attempt {number}" if number is not None else "recorded"


def _moved(event: LedgerEvent) -> str:
    changed = event.values
    parts = []
    if "sends" in changed:
        parts.append("submitted" if changed["sends"] == 1 else f"submitted again ({changed['sends']})")
    if changed.get("last_answer"):
        parts.append(f"answered: {changed['last_answer']}")
    if changed.get("hash") and "status" not in changed:
        parts.append("seen on chain")
    parts.append(_amount(event))
    text = ", ".join(parts)
    if "status" in changed:
        text += f" → {changed['status']}"
    for name in ("error_code", "hash"):
        if changed.get(name):
            text += f" {changed[name]}"
    return text


def _requested(event: LedgerEvent) -> Iterator[str]:
    changed = event.values
    if changed.get("x402_instructions_sha256"):
        yield "402, a price is asked"
    elif changed.get("response_status"):
        yield f"HTTP {changed['response_status']}"
    if changed.get("delivery"):
        yield str(changed["delivery"]).lower()
    if changed.get("outcome"):
        yield f"ended: {changed['outcome']}"
    if changed.get("error_code"):
        yield str(changed["error_code"])


def _amount(event: LedgerEvent) -> str:
    return show(event.amount_atomic, event.currency) if event.amount_atomic is not None and event.currency else "?"


def _name_of(kind: str) -> str:
    table = kind.partition(".")[0]
    return _NAMES.get(table, table.removesuffix("s"))
