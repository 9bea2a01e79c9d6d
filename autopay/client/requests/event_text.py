"""A change of the ledger in words: `event_line(event)`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from autopay.domain.money import show

if TYPE_CHECKING:
    from autopay.adapters.postgres.reports.events import LedgerEvent

_NAMES = {"api_request_logs": "request", "counterparties": "payee", "policies": "policy"}
_LEFT_OUT = frozenset({"updated_at", "sent_at", "id", "agent_id"})


def event_line(event: LedgerEvent) -> str:
    """Like `12:00:01  trader  market-2026  submitted, 0.001 USDC → RETRYING`; times are UTC."""
    subject = event.request_id or _name_of(event.kind)
    return "  ".join((f"{event.at:%T}", event.agent or "-", subject, describe_event(event)))


def describe_event(event: LedgerEvent) -> str:
    """What happened."""
    table, _, verb = event.kind.partition(".")
    match table, verb:
        case "transactions", "created" | "adopted":
            return f"{_signed(event)}, {_amount(event)} → {event.values.get('status')}"
        case "transactions", _:
            return _moved(event)
        case "api_request_logs", "created" | "adopted":
            return f"asked for {event.values.get('endpoint')}"
        case "api_request_logs", _:
            return ", ".join(_requested(event)) or "noted"
        case _, "changed":
            changes = (_change(name, value) for name, value in event.values.items() if name not in _LEFT_OUT)
            return ", ".join(changes) or "changed"
        case _:
            status = event.values.get("status") or event.values.get("name") or event.values.get("pay_to")
            return f"{verb}{f', {status}' if status else ''}"


def _change(name: str, value: object) -> str:
    return f"{name} changed" if isinstance(value, dict | list) else f"{name} → {value}"


def _signed(event: LedgerEvent) -> str:
    number = event.values.get("attempt_number")
    return f"signed, attempt {number}" if number is not None else "recorded"


def _moved(event: LedgerEvent) -> str:
    changed = event.values
    parts = []
    if "sends" in changed:
        parts.append("submitted" if changed["sends"] == 1 else f"submitted again ({changed['sends']})")
    if changed.get("last_answer"):
        parts.append(f"answered: {changed['last_answer']}")
    if changed.get("hash") and "status" not in changed:
        parts.append("seen on chain")
    parts.append(_amount(event))
    text = ", ".join(parts)
    if "status" in changed:
        text += f" → {changed['status']}"
    for name in ("error_code", "hash"):
        if changed.get(name):
            text += f" {changed[name]}"
    return text


def _requested(event: LedgerEvent) -> Iterator[str]:
    changed = event.values
    if changed.get("x402_instructions_sha256"):
        yield "402, a price is asked"
    elif changed.get("response_status"):
        yield f"HTTP {changed['response_status']}"
    if changed.get("delivery"):
        yield str(changed["delivery"]).lower()
    if changed.get("outcome"):
        yield f"ended: {changed['outcome']}"
    if changed.get("error_code"):
        yield str(changed["error_code"])


def _amount(event: LedgerEvent) -> str:
    return show(event.amount_atomic, event.currency) if event.amount_atomic is not None and event.currency else "?"


def _name_of(kind: str) -> str:
    table = kind.partition(".")[0]
    return _NAMES.get(table, table.removesuffix("s"))
