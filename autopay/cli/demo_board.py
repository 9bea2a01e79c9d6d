"""What the demo shows: a live table in a terminal, one line an event in a log. Pure but for printing.

What must not live here: running anything.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from autopay.adapters.ledger.records import TimelineRow
from autopay.cli.console import printable
from autopay.domain.agent import AgentStatus
from autopay.domain.money import show

SHOWN = 14
DONE, UNDER_WAY = "✔", "…"
STAGES = ("signed", "submitted", "delivered", "verified")


@dataclass
class Board:
    """Follows an agent's requests through their steps and shows each change once."""

    console: Console
    live: Live | None = None
    began: float = field(default_factory=time.monotonic)
    stages: dict[str, str] = field(default_factory=dict)
    remark: str = ""

    def say(self, text: str) -> None:
        """A remark between the events."""
        self.remark = text
        self.console.print(Text(f"{self._clock()}  {printable(text)}", style="bold cyan"))

    def update(self, rows: Sequence[TimelineRow], status: AgentStatus | None) -> None:
        """Show what has changed since the last call."""
        for row in reversed(rows):
            self._events(row)
        if self.live is not None:
            self.live.update(self._table(rows, status), refresh=True)

    def _events(self, row: TimelineRow) -> None:
        """Lines for a log: every stage that this payment has newly reached."""
        key, reached = str(row.attempt_id), stages_of(row)
        before = self.stages.get(key)
        self.stages[key] = reached[-1]
        if self.live is not None:
            return
        news = reached[reached.index(before) + 1 :] if before in reached else reached
        price = show(row.amount_atomic, row.currency)
        words = {
            "402": f"402 → {price} asked by {(row.pay_to or '')[:8]}…",
            "signed": f"signed, attempt {row.number}, in the ledger",
            "submitted": "submitted",
            "delivered": "delivered",
            "verified": f"verified, final in {row.hash}",
            "failed": f"failed: {row.error_code}",
        }
        for stage in news:
            self.console.print(f"{self._clock()}  {row.request_id}  {words[stage]}", markup=False)

    def _table(self, rows: Sequence[TimelineRow], status: AgentStatus | None) -> Group:
        heads = ("request", "402 price", "sign", "send", "data", "final", "transaction")
        table = Table(*(Column(head, no_wrap=True) for head in heads), box=None, pad_edge=False)
        for row in reversed(rows[:SHOWN]):
            reached = stages_of(row)
            marks = [
                DONE if stage in reached else UNDER_WAY for stage in ("signed", "submitted", "delivered", "verified")
            ]
            price = show(row.amount_atomic, row.currency)
            table.add_row(escape(f"{row.request_id}"), price, *marks, Text((row.hash or "")[:12], style="dim"))
        return Group(Text(self.remark, style="bold cyan"), Text(headline(status)), table)

    def _clock(self) -> str:
        return f"{time.monotonic() - self.began:5.1f}s"


def stages_of(row: TimelineRow) -> list[str]:
    """The stages that a payment has passed, as the ledger shows them."""
    stages = ["402", "signed"]
    if row.sends:
        stages.append("submitted")
    if row.delivery == "DELIVERED":
        stages.append("delivered")
    if row.status == "VERIFIED":
        stages.append("verified")
    if row.status == "FAILED":
        stages.append("failed")
    return stages


def headline(status: AgentStatus | None) -> str:
    """The agent in one line."""
    if status is None:
        return "the agent is waking up"
    money = ", ".join(show(each.spendable_atomic, each.currency) for each in status.spendable) or "?"
    why = f" ({status.reason})" if status.reason else ""
    flight = f"{len(status.in_flight)} in flight, {len(status.queued)} queued, {len(status.settling)} settling"
    return f"agent {status.name} is {status.state.value}{why}; {flight}; spendable {money}"
