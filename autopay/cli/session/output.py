"""Sessions in words and as JSON: what an owner's transaction does, and its result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autopay.cli.connect.connections import known_session
from autopay.cli.session.owner import notify_agent
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.domain.money import show
from autopay.domain.session import SessionRecord
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import span, utc
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.adapters.solana.owner.owner_transaction import OwnerNode
    from autopay.adapters.solana.owner.revoke import RevokePlan

LAMPORTS_PER_SOL = 10**9


def describe_grant(record: SessionRecord, duration_s: int | None = None) -> Sequence[str]:
    """What the owner's transaction does, line by line, and what the session allows."""
    amount = show(record.allowance_atomic, record.currency)
    lasts = f" within {span(duration_s)} of the grant" if duration_s is not None else ""
    whom = f"to {', '.join(record.hosts)} only" if record.hosts else "to any host"
    return (
        f"opens account {record.source_account} of {record.owner}, for this session alone",
        f"moves {amount} into it from the owner's {record.currency} account; the rest stays where it is",
        f"lets key {record.authority} pay from it, {amount} at most, enforced by the chain",
        f"the session allows {record.tx_limit} payments{lasts}, {whom}, enforced by Autopay",
    )


def describe_revoke(record: SessionRecord, plan: RevokePlan) -> Sequence[str]:
    """What the owner's transaction does, line by line."""
    words = [f"takes account {record.source_account} from key {record.authority}"]
    if plan.brings_back_atomic:
        words.append(f"moves {show(plan.brings_back_atomic, record.currency)} back to {plan.home}")
    if plan.kept_open:
        words.append(f"leaves the account open: {plan.kept_open}")
    else:
        words.append(f"closes the account; its rent, {_sol(plan.rent_lamports)}, goes back to {record.owner}")
    return words


def session_json(record: SessionRecord) -> dict[str, Any]:
    """The session for programs; amounts in base units."""
    return record.model_dump(mode="json", exclude={"owner_transaction"})


async def print_granted(
    settings: Settings,
    node: OwnerNode,
    ledger: PostgresLedger,
    record: SessionRecord,
    signature: str | None,
    as_json: bool,
) -> None:
    """Notify the agent and print that the session can pay; also where money is left in its ended sessions."""
    record = await known_session(ledger, record.session_id)
    problem = await notify_agent(settings, record.agent)
    if as_json:
        print_json(session_json(record) | {"state": "granted", "transaction": signature})
    else:
        locked = f"{show(record.allowance_atomic, record.currency)} is locked in {record.source_account}"
        print_line(f"session {record.session_id} granted: {locked}, until {utc(record.expires_at)}")
        note(f"to take it back: {command_line('session', 'revoke', record.session_id)}")
    if problem:
        note(problem, "yellow")
    for older in await ledger.sessions.list(record.agent):
        if older.status != "ACTIVE" and older.currency == record.currency:
            await _note_money_left(node, older)


async def _note_money_left(node: OwnerNode, ended: SessionRecord) -> None:
    account = await node.chain.token_account(ended.source_account)
    if account is not None and account.amount_atomic:
        note(money_left_line(ended, account.amount_atomic), "yellow")


def money_left_line(ended: SessionRecord, amount_atomic: int) -> str:
    """How much money is left in an ended session, and how to get it back."""
    what = show(amount_atomic, ended.currency)
    revoke = command_line("session", "revoke", ended.session_id)
    return f"{what} is left in ended session {ended.session_id}: {revoke}"


def revoked_line(record: SessionRecord, plan: RevokePlan | None, signature: str | None) -> str:
    """The result of a revoke in one line."""
    if plan is None:
        return f"session {record.session_id} revoked: nothing of it is left on chain"
    back = [show(plan.brings_back_atomic, record.currency)]
    if plan.rent_lamports:
        back.append(f"{_sol(plan.rent_lamports)} of rent")
    how = f"; its account stays open: {plan.kept_open}" if plan.kept_open else ""
    return f"session {record.session_id} revoked: {' and '.join(back)} went back to {record.owner}{how} ({signature})"


def _sol(lamports: int) -> str:
    return f"{lamports / LAMPORTS_PER_SOL:.6f} SOL"
