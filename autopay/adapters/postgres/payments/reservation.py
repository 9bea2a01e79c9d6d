"""The one transaction that reserves money and records what is signed for it, before anything leaves.

| statement | why |
|---|---|
| locks agent, session, request | in this order: the agent serializes its days' limits, the session its budget, the
request its attempts |
| reads what limits the payment | after the locks: at READ COMMITTED it sees what others committed before they let go |
| writes the attempt and its request | together, with what the first run of a request has not recorded yet |

A death before COMMIT leaves nothing of it, and one after leaves all of it: the same call then finds its attempt.
"""

from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text, any_, bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.direct import one_row, split
from autopay.adapters.postgres.database.rows import atomic, recorded_attempt
from autopay.adapters.postgres.database.transaction import locked_request, request_and_agent
from autopay.adapters.postgres.database.writes import CLOCK, changed, new, write
from autopay.adapters.postgres.payments.attempts import attempts_of
from autopay.adapters.postgres.payments.content import storable
from autopay.adapters.postgres.payments.fence import raise_fence
from autopay.adapters.postgres.payments.forgotten import BOOKED_LATER, paid_before
from autopay.adapters.postgres.payments.policy_check import (
    POLICY_COLUMNS,
    ask_person,
    check_policy,
    policy_parameters,
    terms_of,
    use_up_approval,
)
from autopay.adapters.postgres.payments.requests import take_from_queue
from autopay.adapters.postgres.sessions.scope import host_refusal
from autopay.adapters.postgres.sessions.sessions import (
    OWN_ADDRESSES,
    allowance_refusal,
    missing_on_chain,
    refusal_of,
)
from autopay.adapters.postgres.tables.core import AgentRow, QueueRow, RequestRow, SessionRow, TransactionRow
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

_AGENT = (AgentRow.name, AgentRow.autonomy_phase)
_SESSION = (
    SessionRow.id,
    SessionRow.agent_id,
    SessionRow.status,
    SessionRow.expires_at,
    SessionRow.scope,
    SessionRow.allowance,
    SessionRow.currency,
    SessionRow.mint,
    SessionRow.source_account,
    SessionRow.public_key,
)
_REQUEST = (
    RequestRow.id,
    RequestRow.x402_request_id,
    RequestRow.agent_id,
    RequestRow.request_id,
    RequestRow.method,
    RequestRow.url,
    RequestRow.body_hash,
    RequestRow.terms_hash,
    RequestRow.sealed_extras,
    RequestRow.max_price,
    RequestRow.currency_preference,
    RequestRow.delivery,
    RequestRow.closed_at,
    RequestRow.retry_attempts,
)
_LOCKED = (
    select(*_AGENT, *_SESSION, *_REQUEST)
    .join_from(AgentRow, RequestRow, RequestRow.agent_id == AgentRow.id)
    .join(SessionRow, SessionRow.id == bindparam("session_id"))
    .where(RequestRow.x402_request_id == bindparam("request_key"))
    .with_for_update(of=[AgentRow, SessionRow, RequestRow], key_share=True)
)
"""The rows that a reservation locks, in that order, with what it is held against; they have no other column.

No row when the request or the session is unknown.
"""

_ATTEMPTS = select(func.count()).where(
    TransactionRow.x402_request_id == bindparam("request_key"), TransactionRow.attempt_number.is_not(None)
)
_FORGOTTEN = select(TransactionRow.id).where(
    TransactionRow.error_code == BOOKED_LATER, TransactionRow.memo == any_(bindparam("memos", type_=ARRAY(Text)))
)
_OF_SESSION = SessionUsageRow.session_id == bindparam("session_id")

_LIMITS = select(
    _ATTEMPTS.scalar_subquery().label("attempts"),
    select(FenceRow.reason).where(FenceRow.lifted_at.is_(None)).scalar_subquery().label("fence"),
    _FORGOTTEN.exists().label("forgotten"),
    select(SessionUsageRow.payments).where(_OF_SESSION).scalar_subquery().label("payments"),
    select(SessionUsageRow.spent).where(_OF_SESSION).scalar_subquery().label("spent"),
    func.array(OWN_ADDRESSES.scalar_subquery()).label("own"),
    func.clock_timestamp().label("now"),
    *POLICY_COLUMNS,
)
"""What speaks against any payment of the request, what the session has used, and what policy judges by."""


async def reserve(
    db: AsyncSession, request_key: str, number: int, session_id: UUID, signed: SignedPayment, context: SigningContext
) -> RecordedAttempt | PaidBefore | Awaiting | Refused | str:
    """The recorded attempt, or why there is none; a text is the reason of the fence that was raised.

    Raises what `Payments.record_attempt` names.
    """
    locked = await one_row(db, _LOCKED, {"request_key": request_key, "session_id": session_id})
    if locked is None:
        await request_and_agent(db, request_key)
        return Refused(reason=RefusalReason.SESSION_MISSING, message=f"there is no session {session_id}")
    agent, session, request = split(locked, _AGENT, _SESSION, _REQUEST)
    terms = terms_of(request, signed.offer, signed.program)
    memos = context.memos or (signed.memo,)
    limited_by = {
        "session_id": session_id,
        "memos": list(memos),
        "addresses": [signed.offer.pay_to, signed.offer.fee_payer],
    }
    limits = await one_row(db, _LIMITS, limited_by | policy_parameters(request, terms))
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
        row = await locked_request(db, request_key)
        paid = await paid_before(db, row, memos, signed.offer, signed.destination_account)
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
    check = await check_policy(db, request, agent, terms, limits)
    if isinstance(check.verdict, Ask):
        await take_from_queue(db, request)
        return await ask_person(db, request, check)
    if isinstance(check.verdict, Refused):
        return check.verdict
    values = _values(request, session, number, signed, context)
    await _write(db, request, values, context)
    await use_up_approval(db, check, values["id"])
    return recorded_attempt(TransactionRow(**values), agent.name, is_new=True)


def _refused_by_session(session: SessionRow, request: RequestRow, signed: SignedPayment, limits: Any) -> Refused | None:
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


def _values(
    request: RequestRow, session: SessionRow, number: int, signed: SignedPayment, context: SigningContext
) -> dict[str, Any]:
    """The attempt's row."""
    assert request.url is not None
    offer = signed.offer
    return {
        "id": uuid7(),
        "agent_id": request.agent_id,
        "session_id": session.id,
        "x402_request_id": request.x402_request_id,
        "attempt_number": number,
        "retry_count": number - 1,
        "status": TransactionStatus.PENDING,
        "network": offer.network,
        "currency": offer.currency,
        "amount": to_units(offer.amount_atomic),
        "mint": offer.mint,
        "pay_to": offer.pay_to,
        "x402_version": offer.version,
        "authority": session.public_key,
        "claims": [],
        "sends": 1 if context.handed_over_next else 0,
        "sent_at": CLOCK if context.handed_over_next else None,
        "sealed_payment": signed.sealed,
        "memo": signed.memo,
        "message_hash": signed.message_hash,
        "buyer_signature": signed.buyer_signature,
        "blockhash": signed.blockhash,
        "blockhash_slot": signed.blockhash_slot,
        "last_valid_block_height": signed.last_valid_block_height,
        "source_account": signed.source_account,
        "destination_account": signed.destination_account,
        "newest_prior_signature": signed.newest_prior_signature,
        "host": host_and_port(request.url),
        "resource": resource_of(request.method.value, request.url),
    }


async def _write(db: AsyncSession, request: RequestRow, values: dict[str, Any], context: SigningContext) -> None:
    """The attempt, and what its request has not recorded yet; the queue last, as everywhere."""
    changes: dict[str, Any] = {
        "transaction_id": values["id"],
        "price": values["amount"],
        "pay_to": values["pay_to"],
    }
    opening, number = context.opening, values["attempt_number"]
    if context.handed_over_next and number > 1:
        changes["retry_attempts"] = request.retry_attempts + 1
    if opening is not None:
        changes["response_status"] = 402
        if opening.challenge is not None:
            changes["x402_instructions"] = storable(opening.challenge.model_dump(mode="json"))
        if opening.breaker is not None:
            changes["circuit_breaker_state"] = BreakerState(opening.breaker)
    writes = [new(TransactionRow, values), changed(RequestRow, changes, id=request.id)]
    if opening is not None:
        writes.append(changed(QueueRow, {"processed_at": CLOCK}, api_request_id=request.id, processed_at=None))
    try:
        await write(db, *writes)
    except IntegrityError as error:
        raise IllegalTransition(f"another payment has the bytes of attempt {number}") from error
