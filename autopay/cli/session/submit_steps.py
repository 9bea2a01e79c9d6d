"""Checks what an owner signed with another wallet, sends it and has the chain confirm it."""

from solders.signature import Signature
from solders.transaction import VersionedTransaction

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.solana.owner.grant import finish_grant, is_shown
from autopay.adapters.solana.owner.owner_transaction import (
    OwnerNode,
    OwnerRefused,
    OwnerTooLate,
    message_of,
    read_transaction,
    with_signature,
    with_transaction,
)
from autopay.adapters.solana.owner.revoke import plan_revoke
from autopay.cli.connect.connections import known_session, ledger_of
from autopay.cli.session.output import print_granted, revoked_line, session_json
from autopay.cli.session.owner import notify_agent, owner_node
from autopay.cli.session.signing_file import Submission, default_file
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode
from autopay.domain.session import OwnerTransaction, SessionRecord
from autopay.domain.text.command_line import command_line
from autopay.settings import Settings


async def submit_signed(settings: Settings, given: Submission, as_json: bool) -> None:
    """Finish the grant or revoke that was signed, and print what became of it."""
    async with ledger_of(settings) as ledger, owner_node(settings) as node:
        record = await _session_of(ledger, given)
        asked = record.owner_transaction
        if asked is not None and asked.does == "revoke":
            await _revoke(settings, ledger, node, record, asked, given, as_json)
        else:
            await _grant(settings, ledger, node, record, given, as_json)


async def _session_of(ledger: PostgresLedger, given: Submission) -> SessionRecord:
    if given.session_id is not None:
        return await known_session(ledger, given.session_id)
    if given.transaction is None:
        raise CommandError("the file names no session: give the session's id and --signature")
    found = await ledger.sessions.awaiting(message_of(read_transaction(given.transaction)))
    if found is None:
        raise CommandError(
            "no session waits for that transaction: it was submitted already, a newer one was exported, or the wallet "
            f"changed it; see: {command_line('session', 'list')}"
        )
    return found


async def _grant(
    settings: Settings,
    ledger: PostgresLedger,
    node: OwnerNode,
    record: SessionRecord,
    given: Submission,
    as_json: bool,
) -> None:
    """Finish a grant that the chain shows, whoever sent it; else send what was given."""
    signature = None
    if record.owner_transaction is None:
        if record.status != "ACTIVE":
            raise CommandError(f"session {record.session_id} is {record.status}: grant another")
    else:
        signed = _signed(record.owner_transaction, record, given)
        if not await is_shown(node, record):
            signature = await _sent(node, record, record.owner_transaction, signed)
        await finish_grant(node, ledger.sessions, record)
    await print_granted(settings, node, ledger, record, signature, as_json)


async def _sent(
    node: OwnerNode, record: SessionRecord, asked: OwnerTransaction, signed: VersionedTransaction | None
) -> str:
    again = command_line("session", "export", record.session_id, file := default_file(record))
    if asked.does == "revoke":
        again = command_line("session", "revoke", record.session_id, "--export", file)
    if signed is None:
        raise CommandError(
            f"session {record.session_id} waits, and the chain does not show it yet: submit what {record.owner} "
            f"signed, or export a fresh transaction: {again}",
            ExitCode.UNFINISHED,
        )
    try:
        return await node.send(signed, asked.last_valid_block_height)
    except OwnerTooLate:
        raise CommandError(f"that transaction's blockhash has expired, nothing was sent: {again}") from None
    except OwnerRefused as refusal:
        raise CommandError(f"{refusal}; correct that, then: {again}") from None


def _signed(asked: OwnerTransaction, record: SessionRecord, given: Submission) -> VersionedTransaction | None:
    if given.signature is not None:
        return with_signature(asked, record.owner, given.signature)
    if given.transaction is None:
        return None
    if read_transaction(given.transaction).signatures[0] == Signature.default():
        raise CommandError(f"that transaction is not signed yet: {record.owner} signs it first")
    return with_transaction(asked, record.owner, given.transaction)


async def _revoke(
    settings: Settings,
    ledger: PostgresLedger,
    node: OwnerNode,
    record: SessionRecord,
    asked: OwnerTransaction,
    given: Submission,
    as_json: bool,
) -> None:
    plan, signature = await plan_revoke(node, record), None
    if plan is not None:
        signature = await _sent(node, record, asked, _signed(asked, record, given))
    await ledger.sessions.clear_owner_transaction(record.session_id)
    problem = await notify_agent(settings, record.agent)
    if as_json:
        back = plan.brings_back_atomic if plan else 0
        print_json(session_json(record) | {"state": "revoked", "transaction": signature, "brought_back_atomic": back})
    else:
        print_line(revoked_line(record, plan, signature))
    if problem:
        note(problem, "yellow")
