"""Checks the chains of events from outside: unbroken, every step legal, and telling exactly what the rows say.

Shares no code with the product, nor with what writes the chains.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

LEGAL = {
    None: {"PENDING"},
    "PENDING": {"RETRYING", "SUCCESS", "VERIFIED", "FAILED"},
    "RETRYING": {"SUCCESS", "VERIFIED", "FAILED"},
    "SUCCESS": {"VERIFIED", "FAILED"},
    "VERIFIED": set(),
    "FAILED": set(),
}
NEVER_CHANGE = ("request", "number", "amount", "message_hash")
FROZEN = {"status": ("VERIFIED", "FAILED"), "delivery": ("DELIVERED",), "closed": (True,)}
"""A column that has reached one of these stays there."""


def events_tell_the_truth(chains: dict[str, list[Any]], rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Every violation in words; `rows` is what the ledger holds at the end, by id."""
    told: dict[str, dict[str, Any]] = {}
    for agent, chain in chains.items():
        before = bytes(32)
        for seq, event in enumerate(chain, 1):
            if event.hash != hashlib.sha256(before + event.payload).digest():
                yield f"event {seq} of {agent} does not follow the one before"
            before = event.hash
            said = json.loads(event.payload)
            known = told.setdefault(said["row"], {})
            yield from (f"event {seq} of {agent}: {wrong}" for wrong in _illegal(known, said["values"]))
            known |= said["values"]
    for row, state in rows.items():
        if told.get(row) != state:
            yield f"the events of {row} say {told.get(row)}, the row says {state}"


def request_row(row: Any) -> dict[str, Any]:
    """A request as its events should tell it."""
    return {
        "closed": row.closed,
        "outcome": row.result.status.value if row.result else None,
        "delivery": row.delivery,
        "content": None if row.body is None else len(row.body),
        "conflict": row.conflict,
    }


def payment_row(row: Any) -> dict[str, Any]:
    """A payment as its events should tell it."""
    offer = row.signed.offer
    return {
        "request": row.request_key,
        "number": row.number,
        "amount": offer.amount_atomic,
        "message_hash": row.signed.message_hash,
        "status": row.status.value,
        "hash": row.signature,
        "slot": row.slot,
        "sends": row.sends,
    }


def _illegal(known: dict[str, Any], changed: dict[str, Any]) -> Iterator[str]:
    if "status" in changed and changed["status"] not in LEGAL[known.get("status")]:
        yield f"{known.get('status')} became {changed['status']}"
    for name in NEVER_CHANGE:
        if name in changed and name in known:
            yield f"{name} changed"
    for name, final in FROZEN.items():
        if name in changed and known.get(name) in final:
            yield f"{name} was {known[name]}, and became {changed[name]}"
    if known.get("closed") and "outcome" in changed:
        yield "a request ended twice"
    if known.get("sends", 0) > changed.get("sends", known.get("sends", 0)):
        yield "a send was taken back"
