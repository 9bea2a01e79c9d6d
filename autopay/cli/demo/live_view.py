"""What the demo repaints all the time in a terminal: the agent, its payments, and at the bottom what is waited for.

It fits the terminal, whatever its size: in a low one the oldest payments are counted instead of shown, in a narrow one
a payment's steps are one word.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from autopay.cli.demo.stages import STAGES, headline, stages_of
from autopay.cli.terminal.tables import wrapped
from autopay.domain.agent.status import AgentStatus
from autopay.domain.money import show
from autopay.domain.report.rows import TimelineRow
from autopay.domain.text.printable import printable
from autopay.domain.text.times import span

MOST_SHOWN, LEAST_SHOWN = 14, 2
MOST_WORDS = 4
OTHER_LINES = 8
"""Payments, lines about the agent, and lines that are left to the title, the heads, the clock, and what is above."""

DONE, UNDER_WAY = "✔", "…"
HASH_CHARS, SHORT_HASH_CHARS = 12, 8

_HEADS = {"name": "payment for", "signed": "sign", "submitted": "send", "delivered": "data"}
_COLUMNS: Sequence[tuple[int, Sequence[str]]] = (
    (52, ("name", "402 price", *STAGES, "transaction")),
    (34, ("name", "402 price", "step", "sent in")),
    (24, ("name", "402 price", "step")),
    (-1_000_000, ("name", "step")),
)
"""Columns of the terminal that must be left beside the payments' names, and what is shown there."""


@dataclass(frozen=True)
class Wait:
    """What is waited for, in words that may change meanwhile, and since when (seconds of the demo)."""

    what: Callable[[], str]
    since_s: float


@dataclass(frozen=True)
class View:
    """All that is shown at one moment."""

    seconds: float
    title: str
    rows: Sequence[TimelineRow]
    status: AgentStatus | None
    wait: Wait | None


class LiveView:
    """Paints a view; the spinner turns with the time between two paintings."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._spinner = Spinner("line" if console.options.ascii_only else "dots", style="cyan")

    def paint(self, view: View) -> RenderableType:
        """The view for the terminal's size now."""
        parts: list[RenderableType] = [Text(), *self._chapter(view)] if view.title else [Text()]
        return Group(*parts, self._clock(view))

    def payments(self, rows: Sequence[TimelineRow], status: AgentStatus | None) -> RenderableType:
        """The agent in a line or two, and a line for each of its newest payments."""
        said = wrapped(printable(headline(status)), self._console.width)
        most = max(1, min(MOST_WORDS, self._console.height - OTHER_LINES))
        if len(said) > most:
            said = [*said[: most - 1], f"{set_cell_size(said[most - 1], self._console.width - 1).rstrip()}…"]
        room = self._console.height - OTHER_LINES - len(said)
        shown = max(LEAST_SHOWN, min(MOST_SHOWN, room))
        table = self._table(rows[:shown]) if rows else Text("no payment yet", style="dim")
        hidden = len(rows) - shown
        above = [Text(f"{hidden} earlier payments are not shown", style="dim")] if hidden > 0 else []
        return Group(*map(Text, said), *above, table)

    def _chapter(self, view: View) -> Iterator[RenderableType]:
        yield Text(printable(view.title), style="bold cyan", no_wrap=True, overflow="ellipsis")
        yield self.payments(view.rows, view.status)

    def _clock(self, view: View) -> RenderableType:
        """The spinner, how long the demo has run, since when it waits, and what for, in one line."""
        text = span(view.seconds)
        if view.wait is not None:
            waited = view.seconds - view.wait.since_s
            since = f" {span(waited)}" if waited >= 1 else ""
            text = f"{text}, waiting{since} for {view.wait.what()}"
        room = self._console.width - 3
        line = printable(text)
        self._spinner.update(text=line if cell_len(line) <= room else f"{set_cell_size(line, room - 1)}…")
        return self._spinner

    def _table(self, rows: Sequence[TimelineRow]) -> Table:
        """A line for each payment; the narrower the terminal, the fewer columns."""
        names = [printable(str(row.request_id)) for row in rows]
        room = self._console.width - max(map(cell_len, names))
        columns = next(columns for least, columns in _COLUMNS if room >= least)
        table = Table(*(Column(_HEADS.get(each, each), no_wrap=True) for each in columns), box=None, pad_edge=False)
        for name, row in reversed(list(zip(names, rows, strict=True))):
            cells = {"name": Text(name), "402 price": Text(show(row.amount_atomic, row.currency)), **_steps(row)}
            table.add_row(*(cells[each] for each in columns))
        return table


def _steps(row: TimelineRow) -> dict[str, Text]:
    """How far a payment has come: a mark for each stage, or the last one in a word; and its transaction."""
    reached, signature = stages_of(row), row.hash or ""
    marks = {stage: Text(DONE if stage in reached else UNDER_WAY) for stage in STAGES}
    return marks | {
        "step": Text(reached[-1]),
        "transaction": Text(signature[:HASH_CHARS], style="dim"),
        "sent in": Text(signature[:SHORT_HASH_CHARS], style="dim"),
    }
