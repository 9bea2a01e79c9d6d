"""Requests on their way, for `Reports.flow`: what has begun and not ended, and what ended last. Query only."""

from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, lateral, select, true

from autopay.adapters.postgres.database.rows import atomic
from autopay.adapters.postgres.tables.core import AgentRow, QueueRow, RequestRow, TransactionRow
from autopay.adapters.postgres.tables.policy import ApprovalRow
from autopay.domain.policy.records import ApprovalStatus
from autopay.domain.report.flow import FlowRow


def flow_query(agent_id: UUID | None, *, ended: bool, limit: int) -> Select[*tuple[Any, ...]]:
    """Requests, the newest first, with their last payments; those in the queue have not begun.

    Each of the two kinds reads from an index of its own, so that a million requests cost no more than a hundred.
    """
    asked = RequestRow
    queued = select(QueueRow.id).where(QueueRow.api_request_id == asked.id, QueueRow.processed_at.is_(None))
    chosen = select(asked.id).where(asked.request_id.is_not(None))
    if ended:
        chosen = chosen.where(asked.closed_at.is_not(None)).order_by(asked.created_at.desc())
    else:
        chosen = chosen.where(asked.closed_at.is_(None), ~queued.exists()).order_by(asked.id.desc())
    if agent_id is not None:
        chosen = chosen.where(asked.agent_id == agent_id)
    return _with_payments(chosen.limit(limit)).order_by(asked.created_at.desc(), asked.id.desc())


def flow_of_one_query(request_key: str) -> Select[*tuple[Any, ...]]:
    """One request, whether it has begun or not."""
    return _with_payments(select(RequestRow.id).where(RequestRow.x402_request_id == request_key))


def _with_payments(ids: Select[UUID]) -> Select[*tuple[Any, ...]]:
    asked, paid = RequestRow, TransactionRow
    page = ids.subquery()
    last = lateral(
        select(
            paid.amount, paid.attempt_number, paid.currency, paid.error_code, paid.last_answer, paid.sends, paid.status
        )  # and nothing that is sealed
        .where(paid.x402_request_id == asked.x402_request_id)
        .order_by(paid.attempt_number.desc().nulls_last())
        .limit(1)
    )
    question = select(ApprovalRow.id).where(
        ApprovalRow.x402_request_id == asked.x402_request_id,
        ApprovalRow.status == ApprovalStatus.PENDING,
        ApprovalRow.expires_at > func.clock_timestamp(),
    )
    return (
        select(
            asked.x402_request_id.label("key"),
            AgentRow.name.label("agent"),
            asked.request_id,
            asked.url,
            asked.endpoint,
            asked.created_at.label("at"),
            asked.closed_at.label("ended_at"),
            asked.outcome,
            asked.delivery,
            asked.x402_instructions.is_not(None).label("has_terms"),
            question.exists().label("waits_for_person"),
            asked.response_status.label("http_status"),
            asked.error_code,
            asked.error_message,
            last.c.attempt_number.label("number"),
            last.c.sends,
            last.c.status,
            last.c.last_answer,
            last.c.error_code.label("payment_error"),
            last.c.amount,
            last.c.currency,
        )
        .select_from(asked)
        .join(page, page.c.id == asked.id)
        .join(AgentRow, AgentRow.id == asked.agent_id)
        .outerjoin(last, true())
    )


def flow_row(row: Row[Any]) -> FlowRow:
    """A row of the query."""
    values = dict(row._mapping)
    amount = values.pop("amount")
    return FlowRow.model_validate(values | {"amount_atomic": None if amount is None else atomic(amount)})
