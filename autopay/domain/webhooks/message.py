"""What a webhook says: a JSON object with `type`, `timestamp` and `data`, as Standard Webhooks proposes. Pure."""

import json
from datetime import datetime
from typing import Any

from autopay.domain.money import show
from autopay.domain.webhooks.ports import SentEvent


def message_body(name: str, event: SentEvent, action: str | None = None) -> bytes:
    """The message of an event: the same bytes in every attempt. Texts in it may be a seller's: data, never orders."""
    amount = None
    if event.amount_atomic is not None and event.currency is not None:
        amount = show(event.amount_atomic, "").strip()
    data: dict[str, Any] = {
        "agent": event.agent,
        "request_id": event.request_id,
        "amount": amount,
        "amount_atomic": event.amount_atomic,
        "currency": None if event.currency is None else event.currency.value,
        "action": action,
        "kind": event.kind,
        "row_id": str(event.row_id),
        "chain": str(event.agent_id),
        "seq": event.seq,
        "values": event.values,
    }
    return _json({"type": name, "timestamp": event.at.isoformat(), "data": data})


def trial_body(name: str, at: datetime) -> bytes:
    """The message that a person sends to try an endpoint."""
    return _json({"type": name, "timestamp": at.isoformat(), "data": {"message": "this endpoint works"}})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str).encode("utf-8", "replace")
