"""What an owner signed with a wallet: checked, sent, confirmed on chain, recorded.

| crash | the same again |
|---|---|
| before it was sent | sends it |
| after it was sent, before it is confirmed | finds it on chain: the account of a grant, or none any more of a revoke |
| after that, before it is recorded | records it |
| after that | says what became of it |

Whether it landed is asked of the session's account, which can be opened once, and not of one signature: the owner's
wallet may have signed several.
"""

from dataclasses import dataclass
from uuid import UUID

from solders.transaction import VersionedTransaction

from autopay.adapters.solana.owner.grant import finish_grant, is_shown
from autopay.adapters.solana.owner.owner_transaction import (
    OwnerRefused,
    OwnerSignatureWrong,
    OwnerTooLate,
    message_of,
    read_transaction,
    with_signature,
    with_transaction,
)
from autopay.adapters.solana.owner.revoke import plan_revoke
from autopay.delegation.connections import OwnerConnections
from autopay.delegation.drafts import Revoked, default_file, known_session, mark_revoked
from autopay.delegation.errors import NotDelegated, WaitsForOwner
from autopay.domain.session import OwnerTransaction, SessionRecord
from autopay.domain.text.command_line import command_line


@dataclass(frozen=True)
class Submission:
    """What the owner returns: the session if it is named, and a transaction (base64) or a signature (base58)."""

    session_id: UUID | None
    transaction: str | None
    signature: str | None


@dataclass(frozen=True)
class Granted:
    """A session that pays; `signature` is the owner's transaction, None when it had landed before."""

    record: SessionRecord
    signature: str | None


async def submit(on: OwnerConnections, given: Submission) -> Granted | Revoked:
    """Finish the grant or revoke that was signed.

    Raises:
        OwnerSignatureWrong: it is not what the owner was asked to sign; nothing was sent.
        WaitsForOwner: nothing was given, and the chain does not show it.
        NotDelegated: nobody waits for it, it came too late, or the chain refused it.
        OwnerUnknown: it was sent, and nobody knows what became of it; the same again finds out.
    """
    record = await _session_of(on, given)
    asked = record.owner_transaction
    if asked is not None and asked.does == "revoke":
        return await _revoke(on, record, asked, given)
    if asked is None and record.status != "ACTIVE":
        return await _ended_before(on, record)
    return await _grant(on, record, given)


async def _session_of(on: OwnerConnections, given: Submission) -> SessionRecord:
    if given.session_id is not None:
        return await known_session(on.ledger, given.session_id)
    if given.transaction is None:
        raise NotDelegated("unknown_session", "the file names no session: give the session's id and --signature")
    transaction = read_transaction(given.transaction)
    exact = await on.ledger.sessions.awaiting(message_of(transaction))
    if exact is not None:
        return exact
    for record in await on.ledger.sessions.awaiting_wallet(str(transaction.message.account_keys[0])):
        if _is_of(record, given.transaction):  # with what its wallet added
            return record
    raise NotDelegated(
        "not_waiting",
        "no session waits for that transaction: it was submitted already, a newer one was exported, or the wallet "
        "changed it; see",
        command_line("session", "list"),
    )


def _is_of(record: SessionRecord, transaction: str) -> bool:
    assert record.owner_transaction is not None, "it waits for its owner"
    try:
        with_transaction(record.owner_transaction, record.owner, transaction)
    except OwnerSignatureWrong:
        return False
    return True


async def _grant(on: OwnerConnections, record: SessionRecord, given: Submission) -> Granted:
    """Finish a grant that the chain shows, whoever sent it; else send what was given."""
    signature = None
    if record.owner_transaction is not None:
        signed = _signed(record.owner_transaction, record, given)
        if not await is_shown(on.node, record):
            if record.status != "ACTIVE":  # the money would be locked in a session that can pay nothing
                raise NotDelegated(
                    "not_waiting", f"session {record.session_id} was ended before its grant: grant another"
                )
            signature = await _sent(on, record, record.owner_transaction, signed)
        await finish_grant(on.node, on.ledger.sessions, record)
    return Granted(await known_session(on.ledger, record.session_id), signature)


async def _revoke(on: OwnerConnections, record: SessionRecord, asked: OwnerTransaction, given: Submission) -> Revoked:
    plan, signature = await plan_revoke(on.node, record), None
    if plan is not None and plan.steps:
        signature = await _sent(on, record, asked, _signed(asked, record, given))
    return await mark_revoked(on, record, plan, signature)


async def _ended_before(on: OwnerConnections, record: SessionRecord) -> Revoked:
    """What became of a session for which there is nothing to sign: as the second time that its revoke is submitted."""
    if await plan_revoke(on.node, record) is not None:
        raise NotDelegated("not_waiting", f"session {record.session_id} is {record.status}: grant another")
    return Revoked(record, None, None)


async def _sent(
    on: OwnerConnections, record: SessionRecord, asked: OwnerTransaction, signed: VersionedTransaction | None
) -> str:
    again = command_line("session", "export", record.session_id, file := default_file(record))
    if asked.does == "revoke":
        again = command_line("session", "revoke", record.session_id, "--export", file)
    if signed is None:
        raise WaitsForOwner(
            "waits_for_owner",
            f"session {record.session_id} waits, and the chain does not show it yet: submit what {record.owner} "
            "signed, or export a fresh transaction",
            again,
        )
    try:
        return await on.node.send(signed, asked.last_valid_block_height)
    except OwnerTooLate:
        raise NotDelegated(
            "expired", "that transaction's blockhash has expired, nothing was sent: make another", again
        ) from None
    except OwnerRefused as refusal:
        raise NotDelegated("chain_refused", f"{refusal}; correct that, then", again) from None


def _signed(asked: OwnerTransaction, record: SessionRecord, given: Submission) -> VersionedTransaction | None:
    if given.signature is not None:
        return with_signature(asked, record.owner, given.signature)
    if given.transaction is None:
        return None
    return with_transaction(asked, record.owner, given.transaction)
