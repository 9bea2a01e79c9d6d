"""What the demo prints: in a terminal lines above a live view of payments, elsewhere a line for each event."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from autopay.cli.demo.live_view import LiveView, View, Wait
from autopay.cli.demo.stages import stage_words, stages_of
from autopay.cli.terminal.console import stderr_console
from autopay.cli.terminal.tables import wrapped
from autopay.domain.agent.status import AgentStatus
from autopay.domain.report.rows import TimelineRow
from autopay.domain.request import RequestStatus
from autopay.domain.text.printable import printable
from autopay.domain.text.times import span

PAINTINGS_PER_S = 8
FIRST_TOLD_S, TOLD_AGAIN_S = 5.0, 15.0
"""Without a terminal a wait is a line when it has lasted this long, and again after that."""

CLOCK_GAP = 2


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
    began: float = field(default_factory=time.monotonic)
    stages: dict[str, str] = field(default_factory=dict)
    printed: set[str] = field(default_factory=set)
    title: str = ""
    rows: Sequence[TimelineRow] = ()
    status: AgentStatus | None = None
    wait: Wait | None = None

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self.began

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal that can be repainted."""
        return self.console.is_terminal and not self.console.is_dumb_terminal

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Within it, a terminal has the live view; it is gone afterwards."""
        if not self.is_live:
            yield
            return
        view = LiveView(self.console)

        def paint() -> RenderableType:
            return view.paint(View(self.seconds, self.title, self.rows, self.status, self.wait))

        with Live(console=self.console, get_renderable=paint, refresh_per_second=PAINTINGS_PER_S, transient=True):
            yield

    @contextlib.asynccontextmanager
    async def waiting(self, what: str | Callable[[], str]) -> AsyncIterator[None]:
        """Within it, `what` is waited for: the live view shows it with a clock; elsewhere long waits are told."""
        before = self.wait
        self.wait = wait = Wait(what if callable(what) else lambda: what, self.seconds)
        telling = None if self.is_live else asyncio.create_task(self._tell(wait))
        try:
            yield
        finally:
            self.wait = before
            if telling is not None:
                telling.cancel()

    @contextlib.asynccontextmanager
    async def waiting_alone(self, what: str) -> AsyncIterator[None]:
        """The same when no chapter is shown."""
        self.title = ""
        with self.watching():
            async with self.waiting(what):
                yield

    async def _tell(self, wait: Wait) -> None:
        await asyncio.sleep(FIRST_TOLD_S)
        while True:
            self._line(f"waiting {span(self.seconds - wait.since_s)} for {wait.what()}")
            await asyncio.sleep(TOLD_AGAIN_S)

    def chapter(self, title: str) -> None:
        """Print the title of a chapter."""
        self.title = title
        self.console.print()
        self.console.print(Text(printable(title), style="bold cyan"))

    def note(self, text: str) -> None:
        """Print a note between the events."""
        self._line(text, "" if self.is_live else "bold")

    def update(self, rows: Sequence[TimelineRow], status: AgentStatus | None) -> None:
        """Print what has changed since the last call."""
        self.rows, self.status = rows, status
        for row in reversed(rows):
            self._events(row)
        if status is not None:
            self._free_and_held(status)

    def show_payments(self) -> None:
        """Print the live view's payments for good, when there was one."""
        if self.is_live:
            self.console.print()
            self.console.print(LiveView(self.console).payments(self.rows, self.status))

    def _line(self, text: str, style: str = "") -> None:
        """Print a line with the time; in a terminal wrapped at spaces, and beside the clock."""
        clock = f"{self.seconds:5.1f}s{' ' * CLOCK_GAP}"
        room = self.console.width - len(clock) if self.console.is_terminal else sys.maxsize
        first, *others = wrapped(printable(text), room)
        said = Text.assemble((clock, "dim" if self.console.is_terminal else style), (first, style))
        for each in others:
            left = " " * len(clock) if cell_len(each) <= room else ""
            said.append(f"\n{left}{each}", style)
        self.console.print(said, soft_wrap=True)

    def _events(self, row: TimelineRow) -> None:
        """Print a line with the stages that this payment has newly reached, in a log."""
        key, reached = str(row.attempt_id), stages_of(row)
        before = self.stages.get(key)
        self.stages[key] = reached[-1]
        news = reached[reached.index(before) + 1 :] if before in reached else reached
        if not self.is_live and news:
            self._line(f"{row.request_id}  {', '.join(stage_words(stage, row) for stage in news)}")

    def _free_and_held(self, status: AgentStatus) -> None:
        """Print requests that have no payment in the ledger: free ones, and those held before signing."""
        free = {f"{each.request_id}  free: no payment was asked" for each in status.last if _is_free(each.status)}
        held = {f"{each.request_id}  held before signing, waits for the {each.why}" for each in status.held}
        for line in sorted((free | held) - self.printed):
            self.printed.add(line)
            if not self.is_live:
                self._line(line)


def _is_free(status: RequestStatus) -> bool:
    return status is RequestStatus.FREE
