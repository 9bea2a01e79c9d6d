"""What the demo prints: a live table of payments in a terminal, a line for each event in a log."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from autopay.cli.connect.console import printable, stderr_console
from autopay.domain.agent.status import AgentStatus
from autopay.domain.money import show
from autopay.domain.report.rows import TimelineRow
from autopay.domain.request import RequestStatus

MOST_SHOWN, LEAST_SHOWN, OTHER_LINES = 14, 3, 12
"""Payments in the live table, and how many lines of the terminal it leaves to the rest."""

DONE, UNDER_WAY = "✔", "…"
STAGES = ("signed", "submitted", "delivered", "final")
HASH_CHARS = 12


def console_of_demo() -> Console:
    """The terminal if there is one, on stdout or stderr; else stderr, where no line is wrapped."""
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            return Console(file=stream, highlight=False)
    return stderr_console()


@dataclass
class Display:
    """Prints each change of an agent's payments once."""

    console: Console
    live: Live | None = None
    began: float = field(default_factory=time.monotonic)
    stages: dict[str, str] = field(default_factory=dict)
    printed: set[str] = field(default_factory=set)
    title: str = ""

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self.began

    def chapter(self, title: str) -> None:
        """Print the title of a chapter."""
        self.title = title
        self.console.print()
        self.console.print(Text(printable(title), style="bold cyan"))

    def note(self, text: str) -> None:
        """Print a note between the events."""
        self._line(text, "" if self.live is not None else "bold")

    def update(self, rows: Sequence[TimelineRow], status: AgentStatus | None) -> None:
        """Print what has changed since the last call."""
        for row in reversed(rows):
            self._events(row)
        if status is not None:
            self._free_and_held(status)
        if self.live is not None:
            self.live.update(self._table(rows, status), refresh=True)

    def _line(self, text: str, style: str = "") -> None:
        """Print a line with the time; wrapped in a terminal, never in a log."""
        clock = f"{self.seconds:5.1f}s"
        if not self.console.is_terminal:
            self.console.print(Text(f"{clock}  {printable(text)}", style=style))
            return
        grid = Table.grid(Column(no_wrap=True, style="dim"), Column(overflow="fold"), padding=(0, 2, 0, 0))
        grid.add_row(clock, Text(printable(text), style=style))
        self.console.print(grid)

    def _events(self, row: TimelineRow) -> None:
        """Print a line with the stages that this payment has newly reached, in a log."""
        key, reached = str(row.attempt_id), stages_of(row)
        before = self.stages.get(key)
        self.stages[key] = reached[-1]
        news = reached[reached.index(before) + 1 :] if before in reached else reached
        if self.live is None and news:
            self._line(f"{row.request_id}  {', '.join(_words(stage, row) for stage in news)}")

    def _free_and_held(self, status: AgentStatus) -> None:
        """Print requests that have no payment in the ledger: free ones, and those held before signing."""
        free = {f"{each.request_id}  free: no payment was asked" for each in status.last if _is_free(each.status)}
        held = {f"{each.request_id}  held before signing, waits for the {each.why}" for each in status.held}
        for line in sorted((free | held) - self.printed):
            self.printed.add(line)
            if self.live is None:
                self._line(line)

    def _table(self, rows: Sequence[TimelineRow], status: AgentStatus | None) -> Group:
        heads = ("payment for", "402 price", "sign", "send", "data", "final")
        table = Table(*(Column(head, no_wrap=True) for head in heads), Column("transaction"), box=None, pad_edge=False)
        shown = max(LEAST_SHOWN, min(MOST_SHOWN, self.console.height - OTHER_LINES))
        for row in reversed(rows[:shown]):
            reached = stages_of(row)
            marks = (DONE if stage in reached else UNDER_WAY for stage in STAGES)
            price = show(row.amount_atomic, row.currency)
            table.add_row(escape(f"{row.request_id}"), price, *marks, Text((row.hash or "")[:HASH_CHARS], style="dim"))
        return Group(
            Text(), Text(self.title, style="bold cyan"), Text(printable(headline(status))), table, Text("", end="")
        )


def _is_free(status: RequestStatus) -> bool:
    return status is RequestStatus.FREE


def _words(stage: str, row: TimelineRow) -> str:
    """A stage in words."""
    match stage:
        case "402":
            return f"402 → {show(row.amount_atomic, row.currency)} asked by {(row.pay_to or '')[:8]}…"
        case "signed":
            return f"signed (attempt {row.number})"
        case "submitted":
            return "submitted"
        case "final":
            return f"final on chain in {row.hash}"
        case "failed":
            return f"failed: {row.error_code}"
        case _:
            return stage


def stages_of(row: TimelineRow) -> list[str]:
    """The stages that a payment has passed, as the ledger shows them."""
    stages = ["402", "signed"]
    if row.sends:
        stages.append("submitted")
    if row.delivery == "DELIVERED":
        stages.append("delivered")
    if row.status == "VERIFIED":
        stages.append("final")
    if row.status == "FAILED":
        stages.append("failed")
    return stages


def headline(status: AgentStatus | None) -> str:
    """The agent in one line."""
    if status is None:
        return "no worker answers for the agent now"
    money = ", ".join(show(each.spendable_atomic, each.currency) for each in status.spendable) or "?"
    why = f" ({status.reason})" if status.reason else ""
    counts = {
        "in flight": status.in_flight,
        "queued": status.queued,
        "held": status.held,
        "not final yet": status.settling,
    }
    flight = ", ".join(f"{len(each)} {name}" for name, each in counts.items())
    return f"agent {status.name} is {status.state.value}{why}; {flight}; spendable {money}"
