"""Which events are sent to whom, under which name, and when again. Pure.

An event of the ledger has one name: a plain one (`payment.final`) where there is one that the endpoint wants, else that
of the ledger (`ledger.transactions.changed`).
"""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from autopay.domain.upkeep import Duty

PLAIN: Mapping[str, str] = {
    "agent.launched": "an agent was made",
    "agent.paused": "an agent has paused: by itself, for want of money, or as somebody ordered by API or page",
    "agent.resumed": "an agent goes on",
    "approval.needed": "a payment waits for a person",
    "approval.decided": "a person said yes or no, or nobody did in time",
    "payment.signed": "a payment was signed, and may leave from now on",
    "payment.final": "a payment is final on chain",
    "payment.failed": "it is proven that a payment has transferred nothing, and never will",
    "payment.undelivered": "a request was paid, and the seller did not deliver",
    "request.accepted": "an agent has taken a request",
    "request.delivered": "bought content is stored",
    "request.refused": "a rule, the terms or a person said no; nothing was paid",
    "request.failed": "a request has ended without content, and nothing was paid",
    "session.granted": "an agent has a key that may spend",
    "session.ended": "that key has expired or was revoked",
    "ledger.fenced": "the ledger was restored or lacks payments: nothing is signed",
    "ledger.unfenced": "payments may be signed again",
    "upkeep.done": "a reconcile, verify, anchor or prune by schedule has come out well",
    "upkeep.failed": "one of them found a difference, or could not be done",
    "webhook.disabled": "another endpoint has failed for days, and is sent nothing any more",
}
"""Names of events, and when each is sent."""

TEST = "webhook.test"
LEDGER = "ledger."

RETRIES_S = (5, 30, 300, 1_800, 7_200, 18_000, 28_800, 30_600)
"""Seconds to the next attempt, after the first, the second, ...: a day in all."""

DISABLED_AFTER = timedelta(days=3)
"""An endpoint that took nothing of what was tried for so long is disabled."""

DOWN_AFTER = 3
"""So many events have failed since the last one that was taken, and the endpoint counts as down."""

PROBE_S = 300.0
"""Of one that is down, a new event is tried so often."""

MOST_RETRYING = 100
"""So many events have failed since the last one that was taken, and a new one is tried every hour only."""

RARE_PROBE_S = 3_600.0

REFUSALS = frozenset({400, 406, 409, 411, 413, 414, 415, 422, 431})
"""Answers to one message: the receiver works, and does not take this one. Others speak of the receiver."""

MOST_WAIT_S = 3_600.0
"""The longest that `Retry-After` puts off an attempt, beyond its own time."""

_NAMESPACE = UUID("6a9f2f0e-6d3e-5d53-9f43-0a4b8f5a6c11")
_PATTERN = re.compile(r"\*|[a-z_]+(\.[a-z_]+)*(\.\*)?", re.ASCII)


def check_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns, each once: names of events, `payment.*`, `ledger.transactions.*`, or `*` for all plain ones.

    Raises:
        ValueError: one of them can never match.
    """
    for pattern in patterns:
        known = pattern == "*" or pattern.startswith(LEDGER) or any(_matches(pattern, name) for name in PLAIN)
        if not _PATTERN.fullmatch(pattern) or not known:
            raise ValueError(f"{pattern[:60]!r} is no event: one of {', '.join(PLAIN)}, payment.*, ledger.*, or *")
    return tuple(dict.fromkeys(patterns))


def name_for(patterns: Sequence[str], kind: str, values: Mapping[str, Any], action: str | None) -> str | None:
    """The name under which an event of the ledger is sent to an endpoint with those patterns; None when it is not.

    Args:
        patterns: what the endpoint wants.
        kind: of the event, like `transactions.changed`.
        values: of the event.
        action: of an event of `operator_actions`, what was ordered.
    """
    plain = plain_name(kind, values, action)
    if plain is not None and any(pattern == "*" or _matches(pattern, plain) for pattern in patterns):
        return plain
    raw = LEDGER + kind
    return raw if any(_matches(pattern, raw) for pattern in patterns if pattern != "*") else None


def plain_name(kind: str, values: Mapping[str, Any], action: str | None = None) -> str | None:
    """The plain name of an event; None when it has none."""
    table, _, verb = kind.partition(".")
    if verb == "created":
        ordered = _ordered(action) if values.get("outcome") == "done" else None
        return ordered or _CREATED.get(table)
    if verb != "changed":
        return None
    match table:
        case "operator_actions":
            if action in set(Duty):
                return {"done": "upkeep.done", "failed": "upkeep.failed"}.get(str(values.get("outcome")))
            return _ordered(action) if values.get("outcome") == "done" else None
        case "approvals":
            decided = values.get("status") in ("APPROVED", "DENIED", "EXPIRED")
            return "approval.decided" if decided else None
        case "transactions":
            return {"VERIFIED": "payment.final", "FAILED": "payment.failed"}.get(str(values.get("status")))
        case "api_request_logs":
            return _of_request(values)
        case "sessions":
            return "session.ended" if values.get("status") in ("EXPIRED", "REVOKED") else None
        case "fences":
            return "ledger.unfenced" if values.get("lifted_at") else None
        case "webhook_endpoints":
            return "webhook.disabled" if values.get("disabled_at") else None
        case _:
            return None


_CREATED = {
    "agents": "agent.launched",
    "approvals": "approval.needed",
    "transactions": "payment.signed",
    "api_request_logs": "request.accepted",
    "sessions": "session.granted",
    "fences": "ledger.fenced",
}


def _ordered(action: str | None) -> str | None:
    return {"pause": "agent.paused", "resume": "agent.resumed"}.get(action or "")


def _of_request(values: Mapping[str, Any]) -> str | None:
    delivery = values.get("delivery")
    if delivery == "DELIVERED":
        return "request.delivered"
    if delivery == "UNDELIVERED":
        return "payment.undelivered"
    return {"refused": "request.refused", "failed": "request.failed"}.get(str(values.get("outcome")))


def _matches(pattern: str, name: str) -> bool:
    return name == pattern or (pattern.endswith(".*") and name.startswith(pattern[:-1]))


def message_id(endpoint_id: UUID, agent_id: UUID, seq: int) -> UUID:
    """The id of that event for that endpoint: the same whenever and by whomever it is sent."""
    return uuid.uuid5(_NAMESPACE, f"{endpoint_id}/{agent_id}/{seq}")


def webhook_id(message: UUID) -> str:
    """The id as the header has it."""
    return f"msg_{message.hex}"


def probe_in_s(failing: int, begun_s_ago: float | None) -> float | None:
    """Seconds until a new event is tried at an endpoint that is down, 0 for now; None: it is not down.

    Args:
        failing: events that have failed since the last one that was taken, beside refused ones.
        begun_s_ago: when a new event was tried last.
    """
    if failing < DOWN_AFTER:
        return None
    every_s = PROBE_S if failing < MOST_RETRYING else RARE_PROBE_S
    return 0.0 if begun_s_ago is None else max(every_s - begun_s_ago, 0.0)


def next_attempt_s(attempts: int, retry_after_s: float | None, spread: float) -> float | None:
    """Seconds to the next attempt after so many; None when it was the last one.

    Args:
        attempts: made so far, at least 1.
        retry_after_s: what the receiver asks for.
        spread: from 0 to 1, so that not all come at one moment.
    """
    if attempts > len(RETRIES_S):
        return None
    own = RETRIES_S[attempts - 1] * (0.95 + 0.1 * spread)
    return max(own, min(retry_after_s or 0.0, MOST_WAIT_S))
