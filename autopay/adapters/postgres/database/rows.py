"""From rows to the domain's values. No queries here."""

from decimal import Decimal
from typing import Any

from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, SessionRow, TransactionRow
from autopay.domain.agent.records import AgentRecord
from autopay.domain.money import DECIMALS
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.payment import Attempt, ContentFacts, Dead, Payment, Settled, Settlement
from autopay.domain.payment.status import Delivery, TransactionStatus
from autopay.domain.request import (
    HttpMethod,
    RequestRecord,
    RequestResult,
    RequestSpec,
    RequestStatus,
    payment_workflow_id,
)
from autopay.domain.session import SessionKey


def atomic(amount: Decimal | None) -> int:
    """Base units of a money column; 0 for none."""
    return int((amount or Decimal(0)).scaleb(DECIMALS))


def agent_record(row: AgentRow) -> AgentRecord:
    """The agent as the domain has it."""
    return AgentRecord(
        agent_id=row.id,
        name=row.name,
        phase=row.autonomy_phase.value,
        wallet_address=row.wallet_address,
        priority_rules=row.priority_rules,
    )


def session_key(row: SessionRow) -> SessionKey:
    """The session's public half."""
    values: dict[str, Any] = {
        "session_id": row.id,
        "agent_id": row.agent_id,
        "currency": row.currency,
        "mint": row.mint,
        "source_account": row.source_account,
        "owner": row.owner_wallet,
        "authority": row.public_key,
        "allowance_atomic": atomic(row.allowance),
    }
    return SessionKey.model_validate(values)


def recorded_attempt(row: TransactionRow, agent: str, *, is_new: bool = False) -> RecordedAttempt:
    """The attempt with everything that the chain can be asked about it."""
    values: dict[str, Any] = {
        "attempt_id": row.id,
        "agent": agent,
        "request_key": row.x402_request_id,
        "number": row.attempt_number,
        "amount_atomic": atomic(row.amount),
        "version": row.x402_version,
        "claims": tuple(row.claims),
        "status": row.status.value,
        "sealed": row.sealed_payment,
        "is_new": is_new,
    }
    same = RecordedAttempt.model_fields.keys() - values.keys()
    return RecordedAttempt.model_validate(values | {name: getattr(row, name) for name in same})


def payment(request: RequestRow, attempts: list[TransactionRow]) -> Payment:
    """The payment so far; `looks` start again, as only a running workflow counts them."""
    answered = any(row.last_answer is not None for row in attempts)
    return Payment(
        attempts=tuple(attempt(row) for row in attempts),
        delivered=request.delivery is Delivery.DELIVERED,
        http_status=request.response_status if answered else None,
        content=ContentFacts(
            complete=request.content_complete, encoding=request.content_encoding, location=request.content_location
        ),
        conflict=request.conflict,
    )


def attempt(row: TransactionRow) -> Attempt:
    """The attempt as a payment knows it."""
    assert row.attempt_number is not None
    outcome: Settled | Dead | None = None
    if row.status is TransactionStatus.VERIFIED:
        outcome = Settled(settlement=settlement(row))
    elif row.status is TransactionStatus.FAILED:
        outcome = Dead(reason=row.error_code or "unknown")
    alive = row.status is not TransactionStatus.FAILED
    return Attempt(
        number=row.attempt_number,
        sends=row.sends,
        settled_sends=row.settled_sends,
        seen=alive and row.hash is not None,
        outcome=outcome,
        signature=row.hash if alive else None,
        last_answer=row.last_answer,
    )


def settlement(row: TransactionRow) -> Settlement:
    """The transfer that the chain showed."""
    values = {
        "signature": row.hash,
        "slot": row.slot,
        "payer": row.authority,
        "destination": row.destination_account,
        "mint": row.mint,
        "amount_atomic": atomic(row.amount),
    }
    return Settlement.model_validate(values)


def request_spec(row: RequestRow) -> RequestSpec:
    """What the caller asked for."""
    return RequestSpec.model_validate(
        {
            "request_id": row.request_id,
            "url": row.url,
            "method": HttpMethod(row.method).value,
            "max_price_atomic": None if row.max_price is None else atomic(row.max_price),
            "currency": row.currency_preference,
            "body_hash": row.body_hash,
            "sealed_extras": row.sealed_extras,
            "watch": row.watch,
        }
    )


def request_record(row: RequestRow, agent: str, attempts: list[TransactionRow]) -> RequestRecord:
    """The request: what was asked, and how it stands."""
    assert row.x402_request_id is not None
    return RequestRecord(
        request_key=row.x402_request_id,
        agent_id=row.agent_id,
        agent=agent,
        spec=request_spec(row),
        result=request_result(row, agent, attempts),
        closed=row.closed_at is not None,
        ended_at=row.closed_at or row.answered_at,
    )


def request_result(request: RequestRow, agent: str, attempts: list[TransactionRow]) -> RequestResult:
    """The request's state: its recorded end, or what the rows say while it is open."""
    if request.result is not None:
        closed = RequestResult.model_validate(request.result).model_copy(update=_of_content(request))
        late = closed.status is RequestStatus.UNDELIVERED and request.delivery is Delivery.DELIVERED
        if not late:
            return closed
        came = {"status": RequestStatus.DELIVERED, "http_status": request.response_status, "error": None}
        return closed.model_copy(update=came)
    assert request.request_id is not None
    paid = next((row for row in reversed(attempts) if row.status is not TransactionStatus.FAILED), None)
    return RequestResult(
        request_id=request.request_id,
        status=_live_status(request, attempts, paid),
        http_status=request.response_status,
        price_atomic=atomic(paid.amount) if paid is not None else None,
        currency=paid.currency if paid is not None else None,
        transaction=(paid.hash or next(reversed(paid.claims), None)) if paid is not None else None,
        pay_to=paid.pay_to if paid is not None else None,
        attempts=len(attempts),
        workflow_id=payment_workflow_id(agent, request.request_id),
        **_of_content(request),
    )


def _of_content(request: RequestRow) -> dict[str, Any]:
    return {
        "content_complete": request.content_complete,
        "content_encoding": request.content_encoding,
        "content_location": request.content_location,
    }


def _live_status(request: RequestRow, attempts: list[TransactionRow], paid: TransactionRow | None) -> RequestStatus:
    if request.delivery is Delivery.DELIVERED:
        return RequestStatus.DELIVERED if attempts else RequestStatus.FREE
    if request.delivery is Delivery.UNDELIVERED:
        return RequestStatus.UNDELIVERED
    return RequestStatus.WAITING if paid is None else RequestStatus.UNRESOLVED
