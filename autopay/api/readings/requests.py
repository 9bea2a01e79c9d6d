"""Requests: the list, one with everything, its content, and what was paid and not delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopay.api.models.base import Page, money, money_or_none
from autopay.api.models.requests import Attempt, Content, Dispute, Request, RequestItem, TimelineEvent
from autopay.api.readings.places import content_path, explorer_url, seller_of, workflow_url
from autopay.client.errors import InvalidCall
from autopay.client.requests.event_text import describe_event
from autopay.client.requests.text import next_step
from autopay.domain.errors import ContentPruned, UnknownRequest
from autopay.domain.money import short_units_text
from autopay.domain.payment.exchange import StoredContent
from autopay.domain.request import CLOSED, RequestStatus, is_request_id, x402_request_id
from autopay.domain.text.hosts import path_of
from autopay.domain.text.printable import utf8_text

if TYPE_CHECKING:
    from autopay.adapters.postgres.reports.events import LedgerEvent
    from autopay.api.readings.sources import Sources
    from autopay.domain.report.filter import Filter
    from autopay.domain.report.lists import ListedRequest
    from autopay.domain.report.rows import AttemptRow, DisputeRow, RequestDetails
    from autopay.settings import Settings

SHOWN_BYTES = 20_000
"""How much of the content a request is told with."""


@dataclass(frozen=True)
class RequestKey:
    """A request of an agent that the ledger has."""

    agent: str
    request_id: str

    @property
    def key(self) -> str:
        """Its name in the whole ledger."""
        return x402_request_id(self.agent, self.request_id)


async def find_request(sources: Sources, request_id: str, agent: str | None) -> RequestKey:
    """The request of that id; without an agent, of the only one that has such a request.

    Raises:
        InvalidCall: no agent has one, or several do.
    """
    unknown = InvalidCall(f"there is no request {request_id[:130]!r}", "unknown_request")
    if not is_request_id(request_id):
        raise unknown
    if agent is not None:
        return RequestKey(agent, request_id)
    owners = await sources.ledger.reports.owners(request_id)
    if not owners:
        raise unknown
    if len(owners) > 1:
        names = ", ".join(owners)
        raise InvalidCall(f"several agents have a request {request_id!r}: say agent={names}", "several_requests")
    return RequestKey(owners[0], request_id)


async def read_requests(sources: Sources, wanted: Filter, after: str | None, limit: int) -> Page[RequestItem]:
    """Requests, newest first."""
    found = await sources.ledger.lists.requests(wanted, after=after, limit=limit)
    return Page(items=tuple(_item(row, sources.settings) for row in found.rows), next=found.next)


async def read_request(sources: Sources, wanted: RequestKey) -> Request:
    """The request with its payments, its timeline and the beginning of its content.

    Raises:
        InvalidCall: there is none.
    """
    try:
        details = await sources.ledger.reports.request(wanted.key)
    except UnknownRequest:
        message = f"agent {wanted.agent!r} has no request {wanted.request_id!r}"
        raise InvalidCall(message, "unknown_request") from None
    events = await sources.ledger.events.of_request(wanted.key)
    content = await _content(sources, wanted, details)
    return _told(sources.settings, wanted, details, events, content)


async def read_content(sources: Sources, wanted: RequestKey) -> StoredContent | None:
    """What was bought, whole; None: nothing (yet).

    Raises:
        InvalidCall: there is no such request.
        ContentPruned: it was thrown away.
    """
    try:
        return await sources.ledger.requests.content(wanted.key)
    except UnknownRequest:
        message = f"agent {wanted.agent!r} has no request {wanted.request_id!r}"
        raise InvalidCall(message, "unknown_request") from None


async def _content(sources: Sources, wanted: RequestKey, details: RequestDetails) -> Content | None:
    result = details.record.result
    pruned: str | None = None
    stored: StoredContent | None = None
    try:
        stored = await sources.ledger.requests.content(wanted.key)
    except ContentPruned as gone:
        pruned = str(gone)
    if stored is None and pruned is None:
        return None
    kept = details.content
    text = None if stored is None else utf8_text(stored.body[:SHOWN_BYTES])
    return Content(
        content_type=kept.content_type if kept is not None else stored.content_type if stored is not None else None,
        size=None if stored is None else len(stored.body),
        sha256=None if kept is None else kept.sha256,
        came_at=None if kept is None else kept.came_at,
        complete=stored is None or stored.complete,
        encoding=None if stored is None else stored.encoding,
        pruned=pruned,
        bought_by=result.content_of if result.status is RequestStatus.FRESH else None,
        text=text,
        is_cut=stored is not None and text is not None and len(stored.body) > SHOWN_BYTES,
        href=content_path(wanted.agent, wanted.request_id),
    )


def _item(row: ListedRequest, settings: Settings) -> RequestItem:
    return RequestItem(
        id=row.request_id,
        agent=row.agent,
        key=row.request_key,
        at=row.created_at,
        method=row.method,
        url=row.url,
        endpoint=row.endpoint,
        seller=seller_of(row.url),
        status=row.status,
        price=money_or_none(row.price_atomic, row.currency),
        pay_to=row.pay_to,
        transaction=row.transaction,
        explorer=explorer_url(settings, row.transaction, settings.network),
        http_status=row.http_status,
        error=row.error_code,
        message=row.error_message,
        watch=row.watch,
        content_type=row.content_type,
        answered_at=row.answered_at,
        ended_at=row.closed_at,
    )


def _told(
    settings: Settings,
    wanted: RequestKey,
    details: RequestDetails,
    events: Sequence[LedgerEvent],
    content: Content | None,
) -> Request:
    record, result, spec = details.record, details.record.result, details.record.spec
    return Request(
        id=wanted.request_id,
        agent=wanted.agent,
        key=wanted.key,
        at=details.asked_at,
        method=spec.method,
        url=spec.url,
        endpoint=path_of(spec.url),
        seller=seller_of(spec.url),
        status=result.status,
        price=money_or_none(result.price_atomic, result.currency),
        pay_to=result.pay_to,
        transaction=result.transaction,
        explorer=explorer_url(settings, result.transaction, settings.network),
        http_status=result.http_status,
        error=None if result.error is None else result.error.type,
        message=None if result.error is None else result.error.message,
        watch=spec.watch,
        content_type=None if details.content is None else details.content.content_type,
        answered_at=None if details.content is None else details.content.came_at,
        ended_at=record.ended_at if result.status in CLOSED else None,
        max_price=None if spec.max_price_atomic is None else short_units_text(spec.max_price_atomic),
        currency=spec.currency,
        payments=tuple(_attempt(each, settings) for each in details.attempts),
        timeline=tuple(timeline_event(each) for each in events),
        content=content,
        content_location=result.content_location,
        advice=next_step(record),
        workflow_id=result.workflow_id,
        workflow=workflow_url(settings, result.workflow_id),
    )


def _attempt(row: AttemptRow, settings: Settings) -> Attempt:
    return Attempt(
        number=row.number,
        at=row.created_at,
        status=row.status,
        price=money(row.amount_atomic, row.currency),
        network=row.network,
        pay_to=row.pay_to,
        transaction=row.transaction,
        explorer=explorer_url(settings, row.transaction, row.network),
        sends=row.sends,
        last_answer=row.last_answer,
        error_type=row.error_type,
        error_code=row.error_code,
        receipt=row.receipt,
    )


def timeline_event(event: LedgerEvent) -> TimelineEvent:
    """The event of a request's timeline, in words as well."""
    what = "approval " if event.kind.startswith("approvals.") else ""
    return TimelineEvent(
        cursor=event.cursor,
        at=event.at,
        kind=event.kind,
        text=f"{what}{describe_event(event)}",
        values=event.values,
    )


async def read_disputes(sources: Sources, agent: str | None, after: str | None, limit: int) -> Page[Dispute]:
    """What was paid and not delivered: first those whose payment still asks, then the newest."""
    found = await sources.ledger.reports.disputes(agent, after=after, limit=limit)
    return Page(items=tuple(_dispute(row, sources.settings) for row in found.rows), next=found.next)


def _dispute(row: DisputeRow, settings: Settings) -> Dispute:
    return Dispute(
        id=row.request_id,
        agent=row.agent,
        url=row.url,
        method=row.method,
        price=money(row.amount_atomic, row.currency),
        pay_to=row.pay_to,
        transaction=row.transaction,
        explorer=explorer_url(settings, row.transaction, settings.network),
        ended_at=row.when,
        http_status=row.http_status,
        sends=row.sends,
        sent_at=row.sent_at,
        refused=row.refused,
        location=row.location,
    )
