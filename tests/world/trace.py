"""What happened, in order: the one list that ledger, seller and chain all write to, and that auditors read."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from tests.world.clock import now_ms


@dataclass(frozen=True, slots=True)
class Event:
    """`seq` orders events even within one millisecond."""

    seq: int
    at_ms: int
    kind: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        facts = " ".join(f"{name}={_short(value)}" for name, value in self.facts.items())
        return f"{self.at_ms / 1000:9.3f}  {self.kind:<22} {facts}"


@dataclass
class Trace:
    """Append-only."""

    events: list[Event] = field(default_factory=list)

    def add(self, kind: str, **facts: Any) -> Event:
        """Note that something happened now."""
        event = Event(len(self.events), now_ms(), kind, facts)
        self.events.append(event)
        return event

    def digest(self) -> str:
        """One number over everything that happened: equal for equal runs."""
        text = "\n".join(f"{each.seq} {each.at_ms} {each.kind} {each.facts!r}" for each in self.events)
        return hashlib.sha256(text.encode()).hexdigest()


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 90 else f"{text[:40]}…{text[-8:]}"
