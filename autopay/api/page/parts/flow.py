"""Requests on their way as the page shows them. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from autopay.api.models.base import Money, money
from autopay.api.readings.places import seller_of
from autopay.domain.report.flow import FlowRow, Mark, Step, flow_text, flow_tone, steps_of


@dataclass(frozen=True)
class FlowView:
    """One request: what, who, what it costs, and how far it is."""

    key: str
    agent: str
    href: str | None
    endpoint: str
    host: str
    price: Money | None
    steps: Sequence[Step]
    reached_text: str
    says: str
    tone: str
    is_open: bool
    at: datetime


def flow_views(rows: Iterable[FlowRow]) -> list[FlowView]:
    """Each request."""
    return [flow_view(row) for row in rows]


def flow_view(row: FlowRow) -> FlowView:
    """One request."""
    steps = steps_of(row)
    priced = row.amount_atomic is not None and row.currency is not None
    return FlowView(
        key=row.key,
        agent=row.agent,
        href=None if row.request_id is None else request_href(row.agent, row.request_id),
        endpoint=row.endpoint,
        host=seller_of(row.url) or "",
        price=money(row.amount_atomic or 0, row.currency) if priced and row.currency else None,
        steps=steps,
        reached_text=_reached(steps),
        says=flow_text(row),
        tone=flow_tone(row),
        is_open=row.ended_at is None,
        at=row.at,
    )


def request_href(agent: str, request_id: str) -> str:
    """The view of a request."""
    return f"/requests/{quote(agent, safe='')}/{quote(request_id, safe='')}"


def _reached(steps: Sequence[Step]) -> str:
    """The steps for those who do not see the colours."""
    words = {Mark.DONE: "done", Mark.NOW: "under way", Mark.WAIT: "waits", Mark.FAIL: "failed"}
    return ", ".join(f"{step.name} {words[step.mark]}" for step in steps if step.mark in words)
