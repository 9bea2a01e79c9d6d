"""What people are told about sessions: what an owner's transaction does, and what came of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.solana.owner_transaction import OwnerNode
from autopay.adapters.solana.revoke import RevokePlan
from autopay.cli.connect.console import note, print_json, print_line
from autopay.cli.session.options import known_session
from autopay.cli.session.owner import notify_agent
from autopay.cli.session.signing_file import valid_until, write_export
from autopay.domain.money import show
from autopay.domain.session import OwnerTransaction, SessionRecord
from autopay.settings import Settings

LAMPORTS_PER_SOL = 10**9


def describe_grant(record: SessionRecord, duration_s: int | None = None) -> Sequence[str]:
    """What the owner's transaction does, and what it does not."""
    amount = show(record.allowance_atomic, record.currency)
    lasts = f" within {duration_s} s of the grant" if duration_s is not None else ""
    whom = f"to {', '.join(record.hosts)} only" if record.hosts else "to any host"
    return (
        f"opens account {record.source_account} of {record.owner}, for this session alone",
        f"moves {amount} into it from the owner's {record.currency} account; the rest stays where it is",
        f"lets key {record.authority} pay from it, {amount} at most: the chain sees to that",
        f"the session allows {record.tx_limit} payments{lasts}, {whom}: Autopay sees to that",
    )


def describe_revoke(record: SessionRecord, plan: RevokePlan) -> Sequence[str]:
    """What the owner's transaction does."""
    words = [f"takes account {record.source_account} from key {record.authority}"]
    if plan.brings_back_atomic:
        words.append(f"moves {show(plan.brings_back_atomic, record.currency)} back to {plan.home}")
    if plan.kept_open:
        words.append(f"leaves the account open: {plan.kept_open}")
    else:
        words.append(f"closes the account; its rent, {_sol(plan.rent_lamports)}, goes back to {record.owner}")
    return words


def session_json(record: SessionRecord) -> dict[str, Any]:
    """The session as `--json` tells it; amounts in base units."""
    return record.model_dump(mode="json", exclude={"owner_transaction"})


async def export_for_signing(
    settings: Settings,
    node: OwnerNode,
    record: SessionRecord,
    asked: OwnerTransaction,
    words: Sequence[str],
    file: Path,
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Write the file for another wallet, and say what to do with it; returns the facts for `--json`."""
    until = valid_until(asked, await node.block_height(), settings.slot_ms)
    write_export(file, record, asked, words, settings.network, until)
    if not quiet:
        print_line(f"session {record.session_id} waits for {record.owner} to sign {file}, before about {until:%T} UTC")
        late = "" if asked.does == "revoke" else f"; too late: starter.py session export {record.session_id} {file}"
        note(f"then: starter.py session submit {file}{late}")
    waiting = {"state": "waiting", "export": str(file), "valid_until_about": until.isoformat(timespec="seconds")}
    return session_json(record) | waiting


async def print_granted(
    settings: Settings,
    node: OwnerNode,
    ledger: PostgresLedger,
    record: SessionRecord,
    signature: str | None,
    as_json: bool,
) -> None:
    """The session pays: say so, to its agent as well."""
    record = await known_session(ledger, record.session_id)
    untold = await notify_agent(settings, record.agent)
    if as_json:
        print_json(session_json(record) | {"state": "granted", "transaction": signature})
    else:
        locked = f"{show(record.allowance_atomic, record.currency)} is locked in {record.source_account}"
        print_line(f"session {record.session_id} granted: {locked}, until {record.expires_at:%F %T} UTC")
        note(f"to take it back: starter.py session revoke {record.session_id}")
    if untold:
        note(untold, "yellow")
    for older in await ledger.sessions.list(record.agent):
        if older.status != "ACTIVE" and older.currency == record.currency:
            await _tell_left(node, older)


async def _tell_left(node: OwnerNode, ended: SessionRecord) -> None:
    account = await node.token_account(ended.source_account)
    if account is not None and account.amount_atomic:
        note(money_left_line(ended, account.amount_atomic), "yellow")


def money_left_line(ended: SessionRecord, amount_atomic: int) -> str:
    """Where money waits that nothing can spend any more, and how it comes back."""
    what = show(amount_atomic, ended.currency)
    return f"{what} is left in ended session {ended.session_id}: starter.py session revoke {ended.session_id}"


def revoked_line(record: SessionRecord, plan: RevokePlan | None, signature: str | None) -> str:
    """What a revoke did, in a line."""
    if plan is None:
        return f"session {record.session_id} revoked: nothing of it is left on chain"
    back = [show(plan.brings_back_atomic, record.currency)]
    if plan.rent_lamports:
        back.append(f"{_sol(plan.rent_lamports)} of rent")
    how = f"; its account stays open: {plan.kept_open}" if plan.kept_open else ""
    return f"session {record.session_id} revoked: {' and '.join(back)} went back to {record.owner}{how} ({signature})"


def _sol(lamports: int) -> str:
    return f"{lamports / LAMPORTS_PER_SOL:.6f} SOL"
