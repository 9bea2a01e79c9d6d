"""Checks terms that are to be paid against policy: gathers what the ledger knows, and lets `domain/policy` judge it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Date, Label, Uuid, and_, bindparam, func, or_, select, text, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.sessions.records import COUNTS_AS_SPENT
from autopay.adapters.postgres.tables.core import AgentRow, RequestRow, TransactionRow
from autopay.adapters.postgres.tables.policy import ApprovalRow, CounterpartyRow, PolicyRow
from autopay.adapters.postgres.tables.usage import DayUsageRow
from autopay.domain.agent.steps import Withdrawn
from autopay.domain.money import price_text, show
from autopay.domain.payment.offer import Offer
from autopay.domain.policy.policy import ApprovalState, Ask, Awaiting, Facts, Permit, Policy, Terms, judge
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.text.hosts import host_and_port, origin_text, resource_of
from autopay.uuid7 import uuid7

FIRST_PAYMENT, BY_APPROVAL, BY_POLICY = "first payment", "approval", "policy"
TODAY = func.date_trunc("day", func.now(), "UTC")
_DAY = sql_cast(func.timezone("UTC", func.now()), Date)
_FIRST_CONTACT = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))")


_OF_AGENT = bindparam("agent_id", type_=Uuid())
_OF_TODAY = and_(DayUsageRow.agent_id == _OF_AGENT, DayUsageRow.day == _DAY)
_SPENT = select(func.coalesce(func.sum(DayUsageRow.spent), 0)).where(_OF_TODAY)

_POLICY = (
    select(PolicyRow.policy)
    .where(or_(PolicyRow.agent_id == _OF_AGENT, PolicyRow.agent_id.is_(None)))
    .order_by(PolicyRow.agent_id.is_(None), PolicyRow.set_at.desc(), PolicyRow.id.desc())
    .limit(1)
)
_LAST_PRICE = (
    select(TransactionRow.amount)
    .where(TransactionRow.agent_id == _OF_AGENT, TransactionRow.resource == bindparam("resource"), COUNTS_AS_SPENT)
    .order_by(TransactionRow.created_at.desc())
    .limit(1)
)
_PAYEES = select(CounterpartyRow.pay_to).where(
    CounterpartyRow.network == bindparam("network"), CounterpartyRow.origin == bindparam("origin")
)
_ASKED = select(ApprovalRow.id).where(ApprovalRow.x402_request_id == bindparam("request_key"))

POLICY_COLUMNS: tuple[Label[Any], ...] = (
    _POLICY.scalar_subquery().label("policy"),
    _SPENT.scalar_subquery().label("spent_agent_day"),
    _SPENT.where(DayUsageRow.host == bindparam("host")).scalar_subquery().label("spent_host_day"),
    _LAST_PRICE.scalar_subquery().label("last_price"),
    func.array(_PAYEES.scalar_subquery()).label("payees"),
    _ASKED.exists().label("asked"),
)
"""What `check_policy` needs to know, to be read by one statement with the `policy_parameters`."""

_POLICY_FACTS = select(*POLICY_COLUMNS)


@dataclass(frozen=True)
class PolicyCheck:
    """What was checked, from what, and the verdict; `approval` is the question about these terms, if one was asked."""

    terms: Terms
    facts: Facts
    verdict: Permit | Ask | Refused
    approval: ApprovalRow | None


def terms_of(request: RequestRow, offer: Offer, program: str) -> Terms:
    """Exactly what would be paid for, and to whom."""
    assert request.url is not None
    assert request.request_id is not None
    return Terms(
        request_id=request.request_id,
        method=request.method.value,
        url=request.url,
        body_hash=request.body_hash,
        network=offer.network,
        currency=offer.currency,
        mint=offer.mint,
        program=program,
        pay_to=offer.pay_to,
        amount_atomic=offer.amount_atomic,
    )


def policy_parameters(request: RequestRow, terms: Terms) -> dict[str, Any]:
    """Of which agent, request and terms `POLICY_COLUMNS` are."""
    return {
        "agent_id": request.agent_id,
        "request_key": request.x402_request_id,
        "resource": resource_of(terms.method, terms.url),
        "host": host_and_port(terms.url),
    } | _origin_of(terms)


async def check_policy(
    db: AsyncSession, request: RequestRow, agent: AgentRow, terms: Terms, row: Any = None
) -> PolicyCheck:
    """Judge the terms of a request, with what is booked and approved now. Lock the agent first to reserve by it.

    Args:
        row: the `POLICY_COLUMNS`, when they have been read in this transaction, after its locks.
    """
    if row is None:
        row = (await db.execute(_POLICY_FACTS, policy_parameters(request, terms))).one()
    approval = await _approval(db, request, terms) if row.asked else None
    facts = Facts(
        phase=agent.autonomy_phase,
        policy=Policy.model_validate(row.policy) if row.policy is not None else Policy(),
        host=host_and_port(terms.url),
        spent_host_day_atomic=atomic(row.spent_host_day),
        spent_agent_day_atomic=atomic(row.spent_agent_day),
        known_payees=frozenset(row.payees) or await _first_contact(db, terms),
        last_price_atomic=atomic(row.last_price) if row.last_price is not None else None,
        approval=await _approval_state(db, approval),
    )
    return PolicyCheck(terms, facts, _above_callers_limits(request, terms) or judge(terms, facts), approval)


def _above_callers_limits(request: RequestRow, terms: Terms) -> Refused | None:
    """The caller's own limits: asked when an offer is chosen, and here of whatever `sign` was handed."""
    most, currency = request.max_price, request.currency_preference
    if most is not None and terms.amount_atomic > atomic(most):
        price, cap = price_text(terms), show(atomic(most), terms.currency)
        return Refused(reason=RefusalReason.PRICE_ABOVE_MAXIMUM, message=f"{price} is asked, the maximum is {cap}")
    if currency is not None and terms.currency != currency:
        message = f"{terms.currency} is asked, the caller pays in {currency}"
        return Refused(reason=RefusalReason.UNSUPPORTED_ASSET, message=message)
    return None


async def policy_of(db: AsyncSession, agent_id: UUID) -> tuple[Policy, PolicyRow | None]:
    """The policy that holds for an agent, and the row that says so: its own newest, else everyone's newest."""
    query = (
        select(PolicyRow)
        .where(or_(PolicyRow.agent_id == agent_id, PolicyRow.agent_id.is_(None)))
        .order_by(PolicyRow.agent_id.is_(None), PolicyRow.set_at.desc(), PolicyRow.id.desc())
        .limit(1)
    )
    row = await db.scalar(query)
    return (Policy.model_validate(row.policy) if row is not None else Policy()), row


async def spent_today_by_host(db: AsyncSession, agent_id: UUID) -> dict[str, int]:
    """Base units spent by the agent since midnight UTC, unknown outcomes included, by host, the most first."""
    query = (
        select(DayUsageRow.host, DayUsageRow.spent)
        .where(_OF_TODAY, DayUsageRow.payments > 0)
        .order_by(DayUsageRow.spent.desc(), DayUsageRow.host)
    )
    return {host: atomic(amount) for host, amount in await db.execute(query, {"agent_id": agent_id})}


async def ask_person(db: AsyncSession, request: RequestRow, check: PolicyCheck) -> Awaiting:
    """Put the question to a person, once for the same terms."""
    assert isinstance(check.verdict, Ask)
    row = check.approval
    if row is None:
        now = await db.scalar(select(func.clock_timestamp()))
        assert isinstance(now, datetime)
        row = ApprovalRow(
            id=uuid7(),
            agent_id=request.agent_id,
            x402_request_id=request.x402_request_id,
            terms_hash=check.terms.hash(),
            terms=check.terms.model_dump(mode="json"),
            why=check.verdict.why,
            status=ApprovalStatus.PENDING,
            created_at=now,
            expires_at=now + timedelta(seconds=check.facts.policy.approval_expires_s),
        )
        db.add(row)
        await db.flush()
    terms = check.terms
    return Awaiting(
        approval_id=row.id,
        terms_hash=row.terms_hash,
        why=row.why,
        currency=terms.currency,
        amount_atomic=terms.amount_atomic,
        pay_to=terms.pay_to,
        expires_at=row.expires_at,
    )


async def withdraw_questions(db: AsyncSession, agent_id: UUID) -> list[Withdrawn]:
    """Nobody is asked any more what this agent may decide by itself by now.

    A question that is EXPIRED and has a time of decision was withdrawn; the same terms can be asked about again.
    """
    query = (
        select(ApprovalRow, RequestRow.request_id)
        .join(RequestRow, RequestRow.x402_request_id == ApprovalRow.x402_request_id)
        .where(ApprovalRow.agent_id == agent_id, ApprovalRow.status == ApprovalStatus.PENDING)
        .where(RequestRow.closed_at.is_(None))
        .order_by(ApprovalRow.created_at)
        .with_for_update(of=ApprovalRow)
    )
    rows = (await db.execute(query)).all()
    now = await db.scalar(select(func.clock_timestamp()))
    for row, _ in rows:
        row.status, row.decided_at = ApprovalStatus.EXPIRED, now
    return [Withdrawn(request_id=request_id, approval_id=row.id) for row, request_id in rows]


async def use_up_approval(db: AsyncSession, check: PolicyCheck, attempt_id: UUID) -> None:
    """The attempt is being recorded: use up the approval, and remember the payee of the first payment."""
    verdict, terms = check.verdict, check.terms
    assert isinstance(verdict, Permit)
    if verdict.approved:
        assert check.approval is not None
        check.approval.status = ApprovalStatus.CONSUMED
        check.approval.attempt_id = attempt_id
    known = check.facts.known_payees
    if terms.pay_to in known:
        return
    unasked = BY_POLICY if known else FIRST_PAYMENT
    row = {
        "id": uuid7(),
        "network": terms.network,
        "origin": origin_text(terms.url),
        "pay_to": terms.pay_to,
        "accepted_by": BY_APPROVAL if verdict.approved else unasked,
    }
    await db.execute(insert(CounterpartyRow).values(row).on_conflict_do_nothing())


def _origin_of(terms: Terms) -> dict[str, Any]:
    return {"network": terms.network, "origin": origin_text(terms.url)}


async def _first_contact(db: AsyncSession, terms: Terms) -> frozenset[str]:
    """Payees that the origin is known by after all: two first payments to it wait for each other, so that only one is
    first."""
    await db.execute(_FIRST_CONTACT, {"key": f"counterparty {terms.network} {origin_text(terms.url)}"})
    return frozenset(await db.scalars(_PAYEES, _origin_of(terms)))


async def _approval(db: AsyncSession, request: RequestRow, terms: Terms) -> ApprovalRow | None:
    """The question about exactly these terms; an attempt that used its approval and is proven dead gave it back."""
    query = (
        select(ApprovalRow)
        .where(ApprovalRow.x402_request_id == request.x402_request_id, ApprovalRow.terms_hash == terms.hash())
        .order_by(ApprovalRow.created_at.desc())
        .limit(1)
        .with_for_update()
    )
    row = await db.scalar(query)
    if row is not None and row.status is ApprovalStatus.EXPIRED and row.decided_at is not None:
        return None  # withdrawn
    live = (ApprovalStatus.PENDING, ApprovalStatus.APPROVED)
    if row is not None and row.status in live:
        over = update(ApprovalRow).where(ApprovalRow.id == row.id, ApprovalRow.expires_at <= func.clock_timestamp())
        await db.execute(over.values(status=ApprovalStatus.EXPIRED))
        await db.refresh(row)
    return row


async def _approval_state(db: AsyncSession, row: ApprovalRow | None) -> ApprovalState | None:
    """CONSUMED counts as given for its time: the request's earlier attempts are proven dead when another is judged."""
    if row is None:
        return None
    if row.status is ApprovalStatus.CONSUMED:
        is_good = await db.scalar(select(func.clock_timestamp() < row.expires_at))
        return "APPROVED" if is_good else "EXPIRED"
    return cast("ApprovalState", row.status.value)
