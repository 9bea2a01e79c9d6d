"""`session list`: what each session may spend, what it spent, and what the chain says is left."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.session.output import money_left_line, session_json
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, agent_name
from autopay.cli.terminal.tables import print_table
from autopay.delegation.connections import owner_node
from autopay.domain.errors import TransientFault
from autopay.domain.money import show
from autopay.domain.payment.chain import TokenAccount
from autopay.domain.session import SessionRecord
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings

AT_ONCE = 8
UNREACHABLE = "chain unreachable"

AccountReading = TokenAccount | str | None
"""The session's account on chain, None when there is none, or why it could not be read."""


def register(session: typer.Typer) -> None:
    """Add the command to the group `session`."""
    session.command("list", epilog=examples_help("session list", "session list trader --json"))(list_sessions)


def list_sessions(
    agent: Annotated[str | None, typer.Argument(metavar="AGENT", help="Only this agent's.", show_default=False)] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List sessions and the money left in them.

    The newest come first. A session whose owner has not signed yet is shown as WAITING. Only the owner can spend what
    is left in an ended session: use `session revoke` to get it back.
    """
    name = None if agent is None else agent_name(agent)
    settings = Settings.load(home=home).resolve("database_url", "solana_rpc_url")
    found = run_async(_list(settings, name))
    if as_json:
        print_json([_json(record, reading) for record, reading in found])
    elif not found:
        note(f"there is no session yet; grant one: {command_line('session', 'grant', name or 'trader')}")
    else:
        columns = ("session", "agent", "status", "spent", "open", "payments", "expires (UTC)", "on chain", "account")
        print_table(columns, (_cells(record, reading) for record, reading in found))
        _note_money_left(found)


async def _list(settings: Settings, agent: str | None) -> Sequence[tuple[SessionRecord, AccountReading]]:
    slots = asyncio.Semaphore(AT_ONCE)
    async with ledger_of(settings, agent) as ledger, owner_node(settings) as node:
        records = await ledger.sessions.list(agent)

        async def read(record: SessionRecord) -> AccountReading:
            async with slots:
                try:
                    return await node.chain.token_account(record.source_account)
                except TransientFault as fault:
                    return f"{UNREACHABLE} ({fault})"

        readings = await asyncio.gather(*(read(record) for record in records))
    return list(zip(records, readings, strict=True))


def status_of(record: SessionRecord) -> str:
    """ACTIVE, EXPIRED or REVOKED; WAITING until its owner has signed."""
    return record.state(datetime.now(UTC))


def _json(record: SessionRecord, reading: AccountReading) -> dict[str, Any]:
    on_chain: dict[str, Any] | None = None
    if isinstance(reading, TokenAccount):
        delegated = reading.delegated_atomic if reading.delegate == record.authority else 0
        on_chain = {"balance_atomic": reading.amount_atomic, "delegated_atomic": delegated}
    problem = reading if isinstance(reading, str) else None
    return session_json(record) | {"state": status_of(record).lower(), "on_chain": on_chain, "chain_problem": problem}


def _cells(record: SessionRecord, reading: AccountReading) -> Sequence[object]:
    allowance = show(record.allowance_atomic, record.currency)
    spent = show(record.spent_atomic, "")
    pending = show(record.reserved_atomic - record.spent_atomic, "")
    expires = "" if status_of(record) == "WAITING" else f"{record.expires_at:%F %T}"
    return (
        record.session_id,
        record.agent,
        status_of(record),
        f"{spent.strip()} of {allowance}",
        pending.strip(),
        f"{record.payments}/{record.tx_limit}",
        expires,
        _on_chain(record, reading),
        record.source_account,
    )


def _on_chain(record: SessionRecord, reading: AccountReading) -> str:
    match reading:
        case str():
            return UNREACHABLE
        case None:
            return "no account" if record.owner_transaction and not record.granted else "closed"
        case TokenAccount():
            held = show(reading.amount_atomic, "").strip()
            if reading.delegate != record.authority:
                return f"holds {held}, delegated 0"
            return f"holds {held}, delegated {show(reading.delegated_atomic, '').strip()}"


def _note_money_left(found: Sequence[tuple[SessionRecord, AccountReading]]) -> None:
    for record, reading in found:
        if isinstance(reading, TokenAccount) and reading.amount_atomic and status_of(record) in ("EXPIRED", "REVOKED"):
            note(money_left_line(record, reading.amount_atomic), "yellow")
        if status_of(record) == "WAITING":
            what = "is granted on chain, complete it" if isinstance(reading, TokenAccount) else "waits for its owner"
            note(
                f"session {record.session_id} {what}: {command_line('session', 'submit', record.session_id)}", "yellow"
            )
    problem = next((reading for _, reading in found if isinstance(reading, str)), None)
    if problem:
        note(problem, "yellow")
