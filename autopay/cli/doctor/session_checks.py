"""Checks of what agents may spend: sessions in the ledger, delegations and token accounts on the chain."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from autopay.adapters.solana.chain import is_frozen, read_token_account
from autopay.cli.doctor.parts import Parts
from autopay.cli.doctor.results import Observation, failed, warning, worst
from autopay.domain.money import show
from autopay.domain.payment.chain import TokenAccount
from autopay.domain.session import SessionRecord
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import until

NEARLY = 0.9
"""Of a session's time, payments or allowance: a session beyond it will end soon."""

MOST_SESSIONS, AT_ONCE = 200, 4
"""Sessions that are looked at, and of them on the chain at the same time: public nodes count requests."""


async def look_at_sessions(parts: Parts) -> Observation:
    """Whether the sessions that pay have time, payments and allowance left."""
    now = datetime.fromtimestamp(parts.now(), UTC)
    sessions = await _active(parts)
    found = [each for session in sessions for each in _troubles(session, now)]
    return worst(found, f"{len(sessions)} sessions may pay")


async def look_at_delegations(parts: Parts) -> Observation:
    """Whether the chain lets each session pay what the ledger says, and its token account has the money."""
    now = datetime.fromtimestamp(parts.now(), UTC)
    paying = [each for each in await _active(parts) if each.state(now) == "ACTIVE"]
    free = asyncio.Semaphore(AT_ONCE)

    async def read(session: SessionRecord) -> tuple[TokenAccount | None, bool]:
        async with free:
            found = await parts.chain.account(session.source_account)
        account = read_token_account(session.source_account, found.value, found.context.slot)
        return account, account is not None and found.value is not None and is_frozen(found.value)

    on_chain = await asyncio.gather(*(read(each) for each in paying))
    # What settles was reserved before: the ledger that is read after the chain knows all that the chain showed.
    again = {each.session_id: each for each in await _active(parts)}
    found = []
    for session, (account, frozen) in zip(paying, on_chain, strict=True):
        newest = again.get(session.session_id)
        if newest is not None:
            found += _differences(newest, account, frozen=frozen)
    return worst(found, f"{len(paying)} sessions are delegates of token accounts that have what they may spend")


async def _active(parts: Parts) -> Sequence[SessionRecord]:
    return (await parts.books.lists.sessions(active=True, limit=MOST_SESSIONS)).rows


def _troubles(session: SessionRecord, now: datetime) -> list[Observation]:
    whose, state = f"{session.agent}'s session {str(session.session_id)[:8]}", session.state(now)
    another = f"grant another one: {command_line('session', 'grant', session.agent)} --allowance AMOUNT"
    if state == "WAITING":
        submit = command_line("session", "submit", session.session_id)
        return [warning(f"{whose} waits for its owner's signature", f"have it signed, then: {submit} FILE")]
    if state == "EXPIRED":
        return [warning(f"{whose} ended at {session.expires_at:%F %T} UTC", another)]
    left_s = (session.expires_at - now).total_seconds()
    found = []
    if session.duration_s and left_s < (1 - NEARLY) * session.duration_s:
        found.append(f"ends {until(session.expires_at, now)}")
    if session.payments >= NEARLY * session.tx_limit:
        found.append(f"has made {session.payments} of {session.tx_limit} payments")
    if session.reserved_atomic >= NEARLY * session.allowance_atomic:
        left = show(session.allowance_atomic - session.reserved_atomic, session.currency)
        found.append(f"has {left} of {show(session.allowance_atomic, session.currency)} left")
    return [warning(f"{whose} {' and '.join(found)}", another)] if found else []


def _differences(session: SessionRecord, account: TokenAccount | None, *, frozen: bool) -> list[Observation]:
    """What of the session is otherwise on the chain."""
    whose = f"{session.agent}'s token account {session.source_account}"
    another = f"grant another session: {command_line('session', 'grant', session.agent)} --allowance AMOUNT"
    left = session.allowance_atomic - session.reserved_atomic
    if account is None:
        return [failed(f"{whose} is closed", another)]
    if frozen:
        return [failed(f"{whose} is frozen", f"ask the issuer of {session.currency.value} why, or {another}")]
    if account.mint != session.mint or account.owner != session.owner:
        return [failed(f"{whose} is of another wallet or currency now", another)]
    if account.delegate is None and left:
        return [failed(f"{session.agent}'s delegation of {session.source_account} is revoked or used up", another)]
    if account.delegate not in (None, session.authority):
        return [failed(f"{whose} is delegated to another key, {account.delegate}", another)]
    found = []
    if account.delegated_atomic < left:
        gone = show(left - account.delegated_atomic, session.currency)
        compare = f"compare the ledger with the chain: {command_line('ledger', 'reconcile')}"
        found.append(failed(f"{session.agent}'s delegation is {gone} smaller than the ledger knows", compare))
    if account.amount_atomic < left:
        has = show(account.amount_atomic, session.currency)
        fund = f"send {session.currency.value} to {session.source_account}"
        found.append(warning(f"{whose} has {has}, its session may spend {show(left, session.currency)}", fund))
    return found
