"""The one transaction that reserves money and records what is signed for it, before anything leaves.

| statement | why |
|---|---|
| locks agent, session, request | in this order: the agent serializes its days' limits, the session its budget, the
request its attempts |
| reads what limits the payment | after the locks: at READ COMMITTED it sees what others committed before they let go |
| writes the attempt | and what the first run of a request has not recorded yet |
"""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import atomic, recorded_attempt
from autopay.adapters.postgres.database.transaction import READ_AGAIN, request_and_agent
from autopay.adapters.postgres.payments.attempts import attempts_of
from autopay.adapters.postgres.payments.content import storable
from autopay.adapters.postgres.payments.fence import raise_fence
from autopay.adapters.postgres.payments.forgotten import BOOKED_LATER, paid_before
from autopay.adapters.postgres.payments.policy_check import (
    ask_person,
    check_policy,
    policy_columns,
    terms_of,
    use_up_approval,
)
from autopay.adapters.postgres.payments.requests import take_from_queue
from autopay.adapters.postgres.sessions.scope import host_refusal
from autopay.adapters.postgres.sessions.sessions import (
    allowance_refusal,
    missing_on_chain,
    own_addresses,
    refusal_of,
)
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, SessionRow, TransactionRow
from autopay.adapters.postgres.tables.fence import FenceRow
from autopay.adapters.postgres.tables.usage import SessionUsageRow
from autopay.domain.agent.status import BreakerState
from autopay.domain.errors import IllegalTransition, LedgerFenced, OrderDiffers
from autopay.domain.money import to_units
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment, SigningContext
from autopay.domain.payment.payment import MAX_ATTEMPTS
from autopay.domain.payment.status import Delivery, TransactionStatus
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.policy.policy import Ask, Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.text.hosts import host_and_port, resource_of
from autopay.uuid7 import uuid7


async def reserve(
    db: AsyncSession, request_key: str, number: int, session_id: UUID, signed: SignedPayment, context: SigningContext
) -> RecordedAttempt | PaidBefore | Awaiting | Refused | str:
    """The recorded attempt, or why there is none; a text is the reason of the fence that was raised.

    Raises what `Payments.record_attempt` names.
    """
    locked = await _locked(db, request_key, session_id)
    if locked is None:
        await request_and_agent(db, request_key)
        return Refused(reason=RefusalReason.SESSION_MISSING, message=f"there is no session {session_id}")
    agent, session, request = locked
    terms = terms_of(request, signed.offer, signed.program)
    limits = (
        await db.execute(select(*_columns(request, session, signed, context), *policy_columns(request, terms)))
    ).one()
    attempts = await attempts_of(db, request_key) if limits.attempts else []
    known = next((row for row in attempts if row.attempt_number == number), None)
    if known is not None:
        return recorded_attempt(known, agent.name)
    opening = context.opening
    if opening is not None and (opening.terms_hash != request.terms_hash or request.sealed_extras is not None):
        raise OrderDiffers(request_key)
    if limits.fence is not None:
        raise LedgerFenced(limits.fence)
    _require_next(request, attempts, number)
    if limits.forgotten:
        memos = context.memos or [signed.memo]
        paid = await paid_before(db, request, memos, signed.offer, signed.destination_account)
        if paid is not None:
            return paid
    refused = _refused_by_session(session, request, signed, limits)
    if refused is not None:
        return refused
    moved = missing_on_chain(session, atomic(limits.spent), context.delegated_atomic)
    if moved is not None:
        await raise_fence(db, moved)
        return moved
    refused = allowance_refusal(session, atomic(limits.spent), signed.offer.amount_atomic)
    if refused is not None:
        return refused
    if limits.own:
        message = f"the offer names an address of the agent's own sessions: {', '.join(sorted(limits.own))}"
        return Refused(reason=RefusalReason.PAYEE_INVALID, message=message)
    check = await check_policy(db, request, agent, terms, signed.offer, limits)
    if isinstance(check.verdict, Ask):
        await take_from_queue(db, request)
        return await ask_person(db, request, check)
    if isinstance(check.verdict, Refused):
        return check.verdict
    row = await _write(db, request, session, number, signed, context)
    await use_up_approval(db, check, row.id)
    return recorded_attempt(row, agent.name, is_new=True)


async def _locked(
    db: AsyncSession, request_key: str, session_id: UUID
) -> tuple[AgentRow, SessionRow, RequestRow] | None:
    """The rows that a reservation locks, in that order; None when the request or the session is unknown."""
    query = (
        select(AgentRow, SessionRow, RequestRow)
        .join(RequestRow, RequestRow.agent_id == AgentRow.id)
        .join(SessionRow, SessionRow.id == session_id)
        .where(RequestRow.x402_request_id == request_key)
        .with_for_update(of=[AgentRow, SessionRow, RequestRow], key_share=True)
        .execution_options(**READ_AGAIN)
    )
    found = (await db.execute(query)).one_or_none()
    return None if found is None else (found[0], found[1], found[2])


def _columns(request: RequestRow, session: SessionRow, signed: SignedPayment, context: SigningContext) -> list[Any]:
    """What speaks against any payment of the request, and what the session has used."""
    usage = SessionUsageRow.session_id == session.id
    attempts = TransactionRow.x402_request_id == request.x402_request_id, TransactionRow.attempt_number.is_not(None)
    forgotten = TransactionRow.error_code == BOOKED_LATER, TransactionRow.memo.in_(context.memos or [signed.memo])
    own = own_addresses(request.agent_id, {signed.offer.pay_to, signed.offer.fee_payer})
    return [
        select(func.count()).select_from(TransactionRow).where(*attempts).scalar_subquery().label("attempts"),
        select(FenceRow.reason).where(FenceRow.lifted_at.is_(None)).scalar_subquery().label("fence"),
        select(TransactionRow.id).where(*forgotten).exists().label("forgotten"),
        select(SessionUsageRow.payments).where(usage).scalar_subquery().label("payments"),
        select(SessionUsageRow.spent).where(usage).scalar_subquery().label("spent"),
        func.array(own.scalar_subquery()).label("own"),
        func.clock_timestamp().label("now"),
    ]


def _refused_by_session(
    session: SessionRow, request: RequestRow, signed: SignedPayment, limits: Row[Any]
) -> Refused | None:
    pays = (request.agent_id, signed.offer.currency, signed.offer.mint, signed.source_account)
    if (session.agent_id, session.currency, session.mint, session.source_account) != pays:
        raise IllegalTransition(f"{request.x402_request_id} is not for session {session.id} to pay")
    refused = refusal_of(session, int(limits.payments or 0), limits.now)
    return refused or host_refusal(session, host_and_port(request.url or ""))


def _require_next(request: RequestRow, attempts: list[TransactionRow], number: int) -> None:
    if request.closed_at is not None:
        raise IllegalTransition(f"{request.x402_request_id} has ended, nothing is signed for it")
    alive = [row for row in attempts if row.status is not TransactionStatus.FAILED]
    if alive:
        raise IllegalTransition(
            f"attempt {alive[0].attempt_number} of {request.x402_request_id} is {alive[0].status}, "
            f"attempt {number} must wait until it is proven dead"
        )
    if request.delivery is Delivery.DELIVERED:
        raise IllegalTransition(f"{request.x402_request_id} is delivered, nothing is signed for it again")
    if number != len(attempts) + 1 or number > MAX_ATTEMPTS:
        raise IllegalTransition(f"attempt {number} of {request.x402_request_id} cannot follow {len(attempts)}")


async def _write(
    db: AsyncSession,
    request: RequestRow,
    session: SessionRow,
    number: int,
    signed: SignedPayment,
    context: SigningContext,
) -> TransactionRow:
    assert request.x402_request_id is not None
    assert request.url is not None
    offer, opening = signed.offer, context.opening
    row = TransactionRow(
        id=uuid7(),
        agent_id=request.agent_id,
        session_id=session.id,
        x402_request_id=request.x402_request_id,
        attempt_number=number,
        retry_count=number - 1,
        status=TransactionStatus.PENDING,
        network=offer.network,
        currency=offer.currency,
        amount=to_units(offer.amount_atomic),
        mint=offer.mint,
        pay_to=offer.pay_to,
        x402_version=offer.version,
        authority=session.public_key,
        claims=[],
        sends=1 if context.handed_over_next else 0,
        sent_at=func.clock_timestamp() if context.handed_over_next else None,
        sealed_payment=signed.sealed,
        host=host_and_port(request.url),
        resource=resource_of(request.method.value, request.url),
        **signed.model_dump(exclude={"offer", "sealed", "program"}),
    )
    db.add(row)
    try:
        await db.flush()
    except IntegrityError as error:
        raise IllegalTransition(f"another payment has the bytes of attempt {number}") from error
    request.transaction_id = row.id
    request.price = row.amount
    request.pay_to = row.pay_to
    if context.handed_over_next and number > 1:
        request.retry_attempts += 1
    if opening is not None:
        request.response_status = 402
        if opening.challenge is not None:
            request.x402_instructions = storable(opening.challenge.model_dump(mode="json"))
        if opening.breaker is not None:
            request.circuit_breaker_state = BreakerState(opening.breaker)
        await take_from_queue(db, request)
    return row
