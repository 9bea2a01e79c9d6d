"""Grants a session: a fresh key that may spend up to an allowance, and no more, because the chain says so.

One transaction, signed by the owner: it creates a token account of the owner's for this session alone, moves the
allowance into it from the owner's associated account, and makes the session key its delegate (ApproveChecked). A
token account has one delegate at a time, so sessions that shared one would end each other; with an account each,
the most that a session can lose is what was put into it. The owner's key is used here and stored nowhere.

| crash | leaves |
|---|---|
| before the session is recorded | nothing |
| after that, before the owner's transaction is sent | a session that waits: nothing on chain, nothing it can pay |
| after it was sent, before `mark_granted` is recorded | maybe the allowance in its account: `finish_grant` looks |
| after that | the session pays |

A transaction that lands late, or a second one for the same session, does no harm: the account can be created once,
and it is the owner's. Whatever is in it comes back with a revoke.
"""

import asyncio
import hashlib
import time
from dataclasses import dataclass
from uuid import UUID, uuid4

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountWithSeedParams, create_account_with_seed
from spl.token.instructions import (
    approve_checked,
    get_associated_token_address,
    initialize_account3,
    transfer_checked,
)
from spl.token.models import ApproveCheckedParams, InitializeAccount3Params, TransferCheckedParams

from autopay.adapters.solana.chain import read_mint
from autopay.adapters.solana.extensions import account_length
from autopay.adapters.solana.owner.owner_transaction import OwnerNode, OwnerRefused, OwnerUnknown, signed_by
from autopay.adapters.vault import Vault
from autopay.domain.errors import PermanentFault, TransientFault
from autopay.domain.money import DECIMALS, Currency, show
from autopay.domain.session import NewSession, OwnerTransaction, SessionGrants, SessionRecord
from autopay.domain.text.command_line import command_line

LAMPORTS_PER_SOL = 10**9
SHOWN_POLL_S, SHOWN_PATIENCE_S = 0.1, 15
"""A node behind a load balancer may be some slots behind the one that confirmed."""


class OwnerLacks(PermanentFault):
    """The owner cannot grant this, and nothing was sent."""


@dataclass(frozen=True)
class GrantTerms:
    """What a session may do; no hosts means every host."""

    currency: Currency
    mint: str
    allowance_atomic: int
    tx_limit: int
    duration_s: int
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True)
class GrantedSession:
    """A session that the chain has approved; `signature` is the owner's transaction."""

    session_id: UUID
    source_account: str
    authority: str
    signature: str


async def grant_session(
    node: OwnerNode, sessions: SessionGrants, vault: Vault, *, agent: str, owner: Keypair, terms: GrantTerms
) -> GrantedSession:
    """Open the session, sign for the owner with a key at hand, and finish the grant; raises what these three do."""
    record = await open_grant(node, sessions, vault, agent=agent, owner=owner.pubkey(), terms=terms)
    signature = await send_grant(node, sessions, record, owner)
    await finish_grant(node, sessions, record)
    return GrantedSession(record.session_id, record.source_account, record.authority, signature)


async def open_grant(
    node: OwnerNode, sessions: SessionGrants, vault: Vault, *, agent: str, owner: Pubkey, terms: GrantTerms
) -> SessionRecord:
    """Make the key and record the session with what the owner is to sign; it can pay nothing yet.

    Raises:
        OwnerLacks: tokens, or SOL; nothing was recorded.
        ChainUnavailable: the node does not answer; nothing was recorded.
    """
    session_id, key = uuid4(), Keypair()
    mint = Pubkey.from_string(terms.mint)
    account, steps, rent = await _steps(node, owner, key.pubkey(), mint, terms, session_id)
    await sessions.create(
        NewSession(
            agent=agent,
            currency=terms.currency,
            mint=terms.mint,
            source_account=str(account),
            owner=str(owner),
            authority=str(key.pubkey()),
            sealed_key=vault.seal(bytes(key), purpose="session-key", row=str(session_id)),
            allowance_atomic=terms.allowance_atomic,
            tx_limit=terms.tx_limit,
            duration_s=terms.duration_s,
            session_id=session_id,
            hosts=terms.hosts,
            owner_transaction=await node.draft(owner, steps, "grant", rent),
        )
    )
    record = await sessions.get(session_id)
    assert record is not None, "just recorded"
    return record


async def draft_again(node: OwnerNode, sessions: SessionGrants, record: SessionRecord) -> OwnerTransaction:
    """A fresh transaction for a session that still waits: the same account, key and allowance.

    Raises:
        OwnerLacks: tokens, or SOL.
        OwnerRefused: there is nothing to sign any more.
    """
    owner = Pubkey.from_string(record.owner)
    terms = GrantTerms(record.currency, record.mint, record.allowance_atomic, record.tx_limit, 0)
    delegate, mint = Pubkey.from_string(record.authority), Pubkey.from_string(record.mint)
    _, steps, rent = await _steps(node, owner, delegate, mint, terms, record.session_id)
    asked = await node.draft(owner, steps, "grant", rent)
    if not await sessions.await_owner(record.session_id, asked):
        raise OwnerRefused(f"session {record.session_id} waits for no grant any more")
    return asked


async def send_grant(node: OwnerNode, sessions: SessionGrants, record: SessionRecord, owner: Keypair) -> str:
    """Sign what the session waits for and send it; a refused grant ends the session.

    Raises:
        OwnerRefused: the chain refused the transaction; the session is ended.
        OwnerUnknown: nobody knows whether it landed; the session still waits.
    """
    assert record.owner_transaction is not None, "it waits for its owner"
    try:
        return await node.send(
            signed_by(record.owner_transaction, owner), record.owner_transaction.last_valid_block_height
        )
    except OwnerRefused:
        await sessions.end(record.session_id)
        raise
    except TransientFault as fault:
        again = f"see whether it did: {command_line('session', 'submit', record.session_id)}"
        raise OwnerUnknown(f"{fault.told}; {again}") from fault


async def finish_grant(node: OwnerNode, sessions: SessionGrants, record: SessionRecord) -> None:
    """Wait until the chain shows the delegation at confirmed, and let the session pay.

    Raises:
        OwnerUnknown: the chain does not show it.
        OwnerRefused: the session was ended in the meantime; its account holds the allowance.
    """
    deadline = time.monotonic() + SHOWN_PATIENCE_S
    while not await is_shown(node, record):
        if time.monotonic() > deadline:
            again = command_line("session", "submit", record.session_id)
            raise OwnerUnknown(f"the chain does not show the delegation yet; look again: {again}")
        await asyncio.sleep(SHOWN_POLL_S)
    if not await sessions.mark_granted(record.session_id):
        raise OwnerRefused(
            f"session {record.session_id} was ended in the meantime, and its account was funded all the same; "
            f"bring it back: {command_line('session', 'revoke', record.session_id)}"
        )


async def is_shown(node: OwnerNode, record: SessionRecord) -> bool:
    """Whether the chain, at confirmed, lets the session's key spend exactly its allowance."""
    account = await node.chain.token_account(record.source_account)
    return (
        account is not None
        and (account.owner, account.mint, account.delegate) == (record.owner, record.mint, record.authority)
        and account.delegated_atomic == record.allowance_atomic
        and account.amount_atomic >= record.allowance_atomic
    )


async def _steps(
    node: OwnerNode, me: Pubkey, delegate: Pubkey, mint: Pubkey, terms: GrantTerms, session_id: UUID
) -> tuple[Pubkey, list[Instruction], int]:
    """The session's account, the instructions, and the rent in lamports, once it is known that they can succeed."""
    info = await node.raw_account(mint)
    if info is None:
        raise OwnerLacks(f"there is no mint {mint} on this network")
    program, data, _ = info
    facts = read_mint(str(mint), str(program), data)
    why = "it is no mint of a token program" if facts is None else facts.unusable
    if why is not None:  # as payments do: what cannot be paid with is not locked in a session
        raise OwnerLacks(f"no session in {terms.currency} ({mint}): {why}")
    size, amount = account_length(data), terms.allowance_atomic
    home = get_associated_token_address(me, mint, program)
    rent = await node.rent(size)
    await _check_funds(node, me, home, terms, rent)
    account, steps = grant_instructions(
        me, delegate, mint, program, size=size, rent=rent, amount=amount, session_id=session_id
    )
    return account, steps, rent


def grant_instructions(
    me: Pubkey,
    delegate: Pubkey,
    mint: Pubkey,
    program: Pubkey,
    *,
    size: int,
    rent: int,
    amount: int,
    session_id: UUID,
) -> tuple[Pubkey, list[Instruction]]:
    """The session's account of that size, and what opens it, moves the amount into it and approves its key.

    `me` is the owner, `program` the mint's token program, `rent` in lamports.
    """
    home = get_associated_token_address(me, mint, program)
    seed = hashlib.sha256(session_id.bytes).hexdigest()[:32]
    account = Pubkey.create_with_seed(me, seed, program)
    return account, [
        create_account_with_seed(
            CreateAccountWithSeedParams(
                from_pubkey=me, to_pubkey=account, base=me, seed=seed, lamports=rent, space=size, owner=program
            )
        ),
        initialize_account3(InitializeAccount3Params(program_id=program, account=account, mint=mint, owner=me)),
        transfer_checked(
            TransferCheckedParams(
                program_id=program, source=home, mint=mint, dest=account, owner=me, amount=amount, decimals=DECIMALS
            )
        ),
        approve_checked(
            ApproveCheckedParams(
                program_id=program,
                source=account,
                mint=mint,
                delegate=delegate,
                owner=me,
                amount=amount,
                decimals=DECIMALS,
            )
        ),
    ]


async def _check_funds(node: OwnerNode, owner: Pubkey, home: Pubkey, terms: GrantTerms, rent: int) -> None:
    tokens, sol = await node.chain.token_account(str(home)), await node.raw_account(owner)
    if tokens is None:
        raise OwnerLacks(f"the owner {owner} has no {terms.currency} account ({home}): send it some first")
    if tokens.amount_atomic < terms.allowance_atomic:
        missing = show(terms.allowance_atomic - tokens.amount_atomic, f"more {terms.currency}")
        raise OwnerLacks(f"the owner {owner} needs {missing} in its account {home}")
    if sol is None or sol[2] <= rent:
        lent = f"{rent / LAMPORTS_PER_SOL:.6f} SOL"
        raise OwnerLacks(f"the owner {owner} needs more than {lent}: the account's rent, lent until it is closed")
