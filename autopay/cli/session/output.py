"""Sessions in words and as JSON: what became of an owner's transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from autopay.cli.session.owner import notify_agent
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.domain.money import show
from autopay.domain.session import SessionRecord
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import utc
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.adapters.solana.owner.owner_transaction import OwnerNode
    from autopay.delegation.drafts import Revoked
    from autopay.delegation.submission import Granted


def session_json(record: SessionRecord) -> dict[str, Any]:
    """The session for programs; amounts in base units."""
    return record.model_dump(mode="json", exclude={"owner_transaction"})


async def print_granted(
    settings: Settings, node: OwnerNode, ledger: PostgresLedger, granted: Granted, as_json: bool
) -> None:
    """Notify the agent and print that the session can pay; also where money is left in its ended sessions."""
    record = granted.record
    problem = await notify_agent(settings, record.agent)
    if as_json:
        print_json(session_json(record) | {"state": "granted", "transaction": granted.signature})
    else:
        locked = f"{show(record.allowance_atomic, record.currency)} is locked in {record.source_account}"
        print_line(f"session {record.session_id} granted: {locked}, until {utc(record.expires_at)}")
        note(f"to take it back: {command_line('session', 'revoke', record.session_id)}")
    if problem:
        note(problem, "yellow")
    for older in await ledger.sessions.list(record.agent):
        if older.status != "ACTIVE" and older.currency == record.currency:
            await _note_money_left(node, older)


def revoked_json(revoked: Revoked) -> dict[str, Any]:
    """A session that is over, for programs."""
    back = revoked.plan.brings_back_atomic if revoked.plan else 0
    told = {"state": "revoked", "transaction": revoked.signature, "brought_back_atomic": back}
    return session_json(revoked.record) | told


async def _note_money_left(node: OwnerNode, ended: SessionRecord) -> None:
    account = await node.chain.token_account(ended.source_account)
    if account is not None and account.amount_atomic:
        note(money_left_line(ended, account.amount_atomic), "yellow")


def money_left_line(ended: SessionRecord, amount_atomic: int) -> str:
    """How much money is left in an ended session, and how to get it back."""
    what = show(amount_atomic, ended.currency)
    revoke = command_line("session", "revoke", ended.session_id)
    return f"{what} is left in ended session {ended.session_id}: {revoke}"


def revoked_line(revoked: Revoked) -> str:
    """The result of a revoke in one line."""
    from autopay.delegation.words import sol

    record, plan = revoked.record, revoked.plan
    if plan is None:
        return f"session {record.session_id} revoked: nothing of it is left on chain"
    back = [show(plan.brings_back_atomic, record.currency)]
    if plan.rent_lamports:
        back.append(f"{sol(plan.rent_lamports)} of rent")
    how = f"; its account stays open: {plan.kept_open}" if plan.kept_open else ""
    gone = f"{' and '.join(back)} went back to {record.owner}"
    return f"session {record.session_id} revoked: {gone}{how} ({revoked.signature})"
