"""Questions to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopay.api.models.base import Page, money
from autopay.api.models.requests import Approval

if TYPE_CHECKING:
    from autopay.api.readings.sources import Sources
    from autopay.domain.policy.records import ApprovalRecord


async def read_approvals(
    sources: Sources, agent: str | None, after: str | None, limit: int, *, undecided: bool
) -> Page[Approval]:
    """Questions, newest first; with `undecided` those alone that still wait."""
    found = await sources.ledger.lists.approvals(agent, undecided=undecided, after=after, limit=limit)
    return Page(items=tuple(map(approval_told, found.rows)), next=found.next)


def approval_told(record: ApprovalRecord) -> Approval:
    """The question as the API tells it."""
    terms = record.terms
    return Approval(
        id=record.approval_id,
        agent=record.agent,
        request_id=terms.request_id,
        request_key=record.request_key,
        status="WITHDRAWN" if record.is_withdrawn else record.status,
        why=record.why,
        method=terms.method,
        url=terms.url,
        price=money(terms.amount_atomic, terms.currency),
        pay_to=terms.pay_to,
        network=terms.network,
        terms_hash=record.terms_hash,
        asked_at=record.created_at,
        expires_at=record.expires_at,
        decided_at=record.decided_at,
    )
