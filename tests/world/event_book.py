"""The in-memory ledger's chains of events: one for every change of a payment or request, as triggers write them."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from tests.world.rows import AttemptEntry, RequestEntry

GENESIS = bytes(32)


@dataclass(frozen=True, slots=True)
class BookedEvent:
    """`hash` is SHA-256 over the hash before and the payload; the first follows 32 zero bytes."""

    payload: bytes
    hash: bytes


class EventBook:
    """Chains of events by agent, appended to by `note`."""

    def __init__(self) -> None:
        self.chains: dict[str, list[BookedEvent]] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._seen: dict[int, tuple[object, ...]] = {}

    def note(self, requests: dict[str, RequestEntry]) -> None:
        """Append what changed since the last time, as one transaction does at its commit."""
        for request in requests.values():
            outcome = request.result and request.result.status
            values = (request.closed, outcome, request.delivery, request.body, request.conflict)
            if self._changed(request, values):
                self._tell(request.agent, request.key, request_state(request))
            for attempt in request.attempts:
                signed = attempt.signed.message_hash
                if self._changed(attempt, (signed, attempt.status, attempt.signature, attempt.slot, attempt.sends)):
                    self._tell(request.agent, str(attempt.attempt_id), attempt_state(attempt))

    def _changed(self, row: object, values: tuple[object, ...]) -> bool:
        """Whether a row, which lives as long as this book, has other values than when it was last looked at."""
        if self._seen.get(id(row)) == values:
            return False
        self._seen[id(row)] = values
        return True

    def _tell(self, agent: str, row: str, state: dict[str, Any]) -> None:
        known = self._told.get(row)
        if known == state:
            return
        changed = {name: value for name, value in state.items() if known is None or known[name] != value}
        chain = self.chains.setdefault(agent, [])
        payload = json.dumps({"seq": len(chain) + 1, "row": row, "values": changed}, sort_keys=True).encode()
        previous = chain[-1].hash if chain else GENESIS
        chain.append(BookedEvent(payload, hashlib.sha256(previous + payload).digest()))
        self._told[row] = state


def request_state(row: RequestEntry) -> dict[str, Any]:
    """What events say of a request: no content, its length stands for its hash."""
    return {
        "closed": row.closed,
        "outcome": row.result.status.value if row.result else None,
        "delivery": row.delivery,
        "content": None if row.body is None else len(row.body),
        "conflict": row.conflict,
    }


def attempt_state(row: AttemptEntry) -> dict[str, Any]:
    """What events say of a payment."""
    return {
        "request": row.request_key,
        "number": row.number,
        "amount": row.amount_atomic,
        "message_hash": row.signed.message_hash,
        "status": row.status.value,
        "hash": row.signature,
        "slot": row.slot,
        "sends": row.sends,
    }
