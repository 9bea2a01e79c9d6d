"""What an owner is to sign: made for a new session, made again when it expired, made for a revoke.

The draft that was made last is in the ledger with its session, so that whoever submits it needs nothing else: a
command, the page, or either of them after a crash.

| crash | leaves |
|---|---|
| before `open_session` has recorded the session | nothing |
| after that | a session that waits; `session export` or the page makes a fresh draft, a revoke ends it |
| after a revoke has ended the session, before its draft is recorded | a session without a key: revoke it again |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from solders.pubkey import Pubkey

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.solana.owner.grant import GrantTerms, draft_again, is_shown, open_grant
from autopay.adapters.solana.owner.revoke import RevokePlan, plan_revoke
from autopay.adapters.vault import Vault
from autopay.delegation.connections import OwnerConnections
from autopay.delegation.errors import NotDelegated, WaitsForOwner
from autopay.delegation.words import describe_grant, describe_revoke
from autopay.domain.agent.records import AgentRecord
from autopay.domain.errors import UnknownAgent
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.session import OwnerTransaction, SessionRecord
from autopay.domain.text.command_line import command_line


@dataclass(frozen=True)
class Draft:
    """What the owner is to sign, in words and as it is, and about how long it can land."""

    record: SessionRecord
    asked: OwnerTransaction
    words: Sequence[str]
    valid_until: datetime


@dataclass(frozen=True)
class Revoked:
    """A session that is over; `plan` is what went back to the owner, None when there was nothing on chain.

    `may_still_be_granted`: its grant was never seen, and its owner can still sign it and have it land.
    """

    record: SessionRecord
    plan: RevokePlan | None
    signature: str | None
    may_still_be_granted: bool = False


@dataclass(frozen=True)
class AgentNeeds:
    """What an agent's session should suit: its phase, and the least that it must be able to spend before it pays."""

    phase: Phase
    least_atomic: int
    is_known: bool


async def needs_of(ledger: PostgresLedger, name: str, currency: Currency) -> AgentNeeds:
    """What the agent needs; DEMO and nothing of one that is not there yet."""
    try:
        phase, saved = Phase((await ledger.agents.get(name)).phase), await ledger.agents.saved(name)
    except UnknownAgent:
        return AgentNeeds(Phase.DEMO, 0, is_known=False)
    return AgentNeeds(phase, saved.spec.rules.needed(currency) if saved is not None else 0, is_known=True)


async def known_session(ledger: PostgresLedger, session_id: UUID) -> SessionRecord:
    """The session as the ledger has it.

    Raises:
        NotDelegated: there is none.
    """
    record = await ledger.sessions.get(session_id)
    if record is None:
        raise NotDelegated("unknown_session", f"there is no session {session_id}; see", command_line("session", "list"))
    return record


async def known_wallet(ledger: PostgresLedger, name: str, wallet: str, phase: Phase = Phase.DEMO) -> AgentRecord:
    """The agent whose money is in that wallet; a new one is made when there is none of that name.

    Raises:
        NotDelegated: the agent belongs to another wallet.
    """
    agent = await ledger.agents.create(name, phase, wallet)
    if agent.wallet_address and agent.wallet_address != wallet:
        raise NotDelegated(
            "another_wallet",
            f"agent {name!r} belongs to wallet {agent.wallet_address}, not to {wallet}: "
            "use that wallet, or another name",
        )
    await ledger.agents.set_wallet(name, wallet)
    return agent


async def open_session(
    on: OwnerConnections, vault: Vault, *, agent: str, owner: Pubkey, terms: GrantTerms
) -> SessionRecord:
    """Make a session with its key that waits for its owner; call it while holding `lock_agent`.

    Raises:
        WrongNetwork: the node belongs to another network.
        NotDelegated: the agent belongs to another wallet.
        OwnerLacks: tokens, or SOL.
    """
    await on.node.chain.check_network()
    await known_wallet(on.ledger, agent, str(owner))
    return await open_grant(on.node, on.ledger.sessions, vault, agent=agent, owner=owner, terms=terms)


async def grant_draft(on: OwnerConnections, record: SessionRecord) -> Draft:
    """What the owner of a session that was just opened is to sign."""
    assert record.owner_transaction is not None, "it waits for its owner"
    return await _draft(on, record, record.owner_transaction, describe_grant(record))


async def fresh_grant_draft(on: OwnerConnections, record: SessionRecord) -> Draft:
    """A fresh transaction for a session that waits; the one before it is accepted no more.

    Raises:
        NotDelegated: it waits for no grant, or the grant is on chain already.
        OwnerLacks: tokens, or SOL.
    """
    session_id = record.session_id
    if record.granted or record.status != "ACTIVE":
        revoke = command_line("session", "revoke", session_id, "--export", default_file(record))
        raise NotDelegated(
            "not_waiting", f"session {session_id} does not wait for a grant; to take its money back", revoke
        )
    if await is_shown(on.node, record):
        raise NotDelegated(
            "granted_already", "the grant is on chain already", command_line("session", "submit", session_id)
        )
    asked = await draft_again(on.node, on.ledger.sessions, record)
    record = record.model_copy(update={"owner_transaction": asked})
    return await _draft(on, record, asked, describe_grant(record))


async def revoke_draft(on: OwnerConnections, session_id: UUID) -> Draft | Revoked:
    """End the session, whose key is destroyed at once, and draft what takes its money back, if there is any.

    Raises:
        WaitsForOwner: payments of it are open: what is left in the account can prove that one never landed.
        NotDelegated: there is no such session.
    """
    await on.ledger.sessions.end((await known_session(on.ledger, session_id)).session_id)
    record = await known_session(on.ledger, session_id)
    if record.open_payments:
        raise WaitsForOwner(
            "open_payments",
            f"session {session_id} is ended and its key destroyed; {record.open_payments} of its payments are open, "
            "and its money can be taken back when they are final or failed; then",
            command_line("session", "revoke", session_id),
        )
    plan = await plan_revoke(on.node, record)
    if plan is None or not plan.steps:
        return await mark_revoked(on, record, plan, None)
    return await draft_of_plan(on, record, plan)


async def draft_of_plan(on: OwnerConnections, record: SessionRecord, plan: RevokePlan) -> Draft:
    """The draft of a revoke, in the ledger as what the owner is asked to sign now."""
    asked = await on.node.draft(Pubkey.from_string(record.owner), plan.steps, "revoke")
    await on.ledger.sessions.await_owner(record.session_id, asked)
    return await _draft(on, record, asked, describe_revoke(record, plan))


async def mark_revoked(
    on: OwnerConnections, record: SessionRecord, plan: RevokePlan | None, signature: str | None
) -> Revoked:
    """Forget what the owner was asked to sign, unless it is a grant that may still land."""
    asked = record.owner_transaction
    never_seen = signature is None and asked is not None and asked.does == "grant"
    if not never_seen:
        await on.ledger.sessions.clear_owner_transaction(record.session_id)
    late = never_seen and asked is not None and await on.node.block_height() <= asked.last_valid_block_height
    return Revoked(
        await known_session(on.ledger, record.session_id),
        plan if plan is not None and (signature is not None or plan.kept_open) else None,
        signature,
        late,
    )


def default_file(record: SessionRecord) -> str:
    """A name for the file with which the owner of this session signs."""
    return f"session-{record.session_id.hex[:8]}.json"


async def _draft(on: OwnerConnections, record: SessionRecord, asked: OwnerTransaction, words: Sequence[str]) -> Draft:
    blocks = max(0, asked.last_valid_block_height - await on.node.block_height())
    return Draft(record, asked, words, datetime.now(UTC) + timedelta(milliseconds=blocks * on.slot_ms))
