"""The demo's view of its waits and payments: in terminals of several sizes, and in a log."""

import asyncio
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from rich.cells import cell_len
from rich.console import Console

from autopay.cli.demo import display as display_module
from autopay.cli.demo.display import Display
from autopay.cli.demo.live_view import LiveView, View, Wait
from autopay.domain.agent.spec import Rules
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.phase import Phase
from autopay.domain.report.rows import TimelineRow

SIZES = [(80, 24), (120, 40), (60, 24), (60, 12), (40, 10)]
REASON = (
    "0.009 USDC spendable (session budget), 0.01 USDC needed: a new session with a larger allowance lets it go on "
    "(session grant)"
)


def payments(count: int) -> Sequence[TimelineRow]:
    """So many payments, the newest first; the newest one is under way."""
    return [
        TimelineRow(
            attempt_id=UUID(int=number), created_at=datetime(2026, 11, 28, tzinfo=UTC), agent="demo-1128-114509",
            request_id=f"market-v1-20261128T1145{number:02}", request_key=f"ap_{number}", url=None, endpoint=None,
            number=1, sends=1, status="VERIFIED" if number < count else "PENDING",
            delivery="DELIVERED" if number < count else None, amount_atomic=2_400, currency=Currency.CASH,
            network=Network.DEVNET, pay_to="payee", hash="5VERv8NMvzbJ" + "x" * 76, error_type=None, error_code=None,
            verification_hash=None,
        )
        for number in range(count, 0, -1)
    ]  # fmt: skip


def status(reason: str | None = REASON) -> AgentStatus:
    """A paused agent that says why."""
    return AgentStatus(
        name="demo-1128-114509", phase=Phase.FULL, rules=Rules(), state=AgentState.PAUSED, reason=reason, spendable=(),
        in_flight=(), settling=(), queued=(), watches=(), payments=0, delivered=0, refused=0, failed=0, undelivered=0,
        spent_atomic={}, last=(),
    )  # fmt: skip


def painted(width: int, height: int, view: View) -> list[str]:
    """The lines of the view in a terminal of that size."""
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    with console.capture() as captured:
        console.print(LiveView(console).paint(view))
    return captured.get().splitlines()


def view(rows: Sequence[TimelineRow], what: str = "the held payments", seconds: float = 75) -> View:
    return View(seconds, "4. The chain goes away", rows, status(), Wait(lambda: what, 70))


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_the_view_fits_the_terminal_and_its_last_line_says_what_is_waited_for(
    width: int, height: int, count: int
) -> None:
    lines = painted(width, height, view(payments(count)))
    assert max(map(cell_len, lines)) <= width
    assert len(lines) <= height
    assert "waiting 5 s for the held payments"[: width - 14] in lines[-1]
    assert "1 m 15 s, " in lines[-1]
    shown = sum("market-v1-2026" in line for line in lines)
    hidden = [line for line in lines if "earlier payments are not shown" in line]
    assert [f"{count - shown} " in line for line in hidden] == ([True] if shown < count else [])
    assert shown >= min(count, 2)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_newest_payment_is_shown_with_its_step_and_price(width: int, height: int) -> None:
    [newest] = [line for line in painted(width, height, view(payments(20))) if "T114520" in line]
    if width >= 60:
        assert "0.0024 CASH" in newest
    assert newest.count("✔") == 2 if width >= 80 else "submitted" in newest


def test_a_long_wait_is_cut_at_the_terminals_edge_and_never_wrapped() -> None:
    lines = painted(60, 24, view(payments(1), "x" * 200))
    assert cell_len(lines[-1]) <= 60
    assert lines[-1].endswith("…")


def in_a_log() -> tuple[Display, io.StringIO]:
    stream = io.StringIO()
    return Display(Console(file=stream, soft_wrap=True)), stream


async def until_written(text: str, stream: io.StringIO) -> None:
    """Wait for it, not for ever."""
    async with asyncio.timeout(10):
        while text not in stream.getvalue():  # noqa: ASYNC110 (a stream has no event to wait for)
            await asyncio.sleep(0.005)


async def test_a_log_has_plain_lines_only_and_each_event_once() -> None:
    display, stream = in_a_log()
    with display.watching():
        display.chapter("1. It buys")
        async with display.waiting("the queue"):
            for _ in range(2):
                display.update(payments(2), status())
        display.note("a note " * 40)
        display.show_payments()
    lines = stream.getvalue().splitlines()
    assert "\x1b" not in stream.getvalue()
    assert [line.split("s  ", 1)[-1][:40] for line in lines] == [
        "", "1. It buys", "market-v1-20261128T114501  402 → 0.0024 ", "market-v1-20261128T114502  402 → 0.0024 ",
        "a note a note a note a note a note a not",
    ]  # fmt: skip


async def test_a_log_says_that_it_still_waits_and_for_what(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display_module, "FIRST_TOLD_S", 0.01)
    monkeypatch.setattr(display_module, "TOLD_AGAIN_S", 0.01)
    display, stream = in_a_log()
    left = ["chain", "sellers"]
    async with display.waiting(lambda: f"{', '.join(left)} to answer"):
        await until_written("for chain, sellers to answer", stream)
        left.remove("chain")
        await until_written("for sellers to answer", stream)
    said = stream.getvalue()
    await asyncio.sleep(0.05)
    assert stream.getvalue() == said
    assert display.wait is None


async def test_a_wait_within_a_wait_is_shown_and_the_outer_one_after_it() -> None:
    display, _ = in_a_log()
    async with display.waiting("all"):
        async with display.waiting("a part"):
            assert display.wait is not None
            assert display.wait.what() == "a part"
        assert display.wait is not None
        assert display.wait.what() == "all"


def test_in_a_terminal_lines_are_wrapped_at_spaces_beside_the_clock_and_signatures_stay_whole() -> None:
    stream = io.StringIO()
    display = Display(Console(file=stream, width=60, force_terminal=True, color_system=None))
    display.note(f"{'word ' * 15}{'s' * 88} end")
    lines = stream.getvalue().splitlines()
    assert "s" * 88 in lines
    assert all(len(line) <= 60 for line in lines if line != "s" * 88)
    assert all(line.startswith("        ") for line in lines[1:] if line != "s" * 88)


async def test_a_terminal_gets_the_live_view_and_it_is_gone_at_the_end() -> None:
    stream = io.StringIO()
    display = Display(Console(file=stream, width=80, height=24, force_terminal=True))
    with display.watching():
        async with display.waiting("postgres to answer"):
            await until_written("for postgres to answer", stream)
    shown, erased = stream.getvalue().rsplit("for postgres to answer", 1)
    assert "\x1b[?25l" in shown
    assert "\x1b[2K" in erased
    assert "\x1b[?25h" in erased


def test_a_dumb_terminal_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    stream = io.StringIO()
    display = Display(Console(file=stream, width=80, force_terminal=True))
    with display.watching():
        display.update(payments(1), status())
    assert "signed (attempt 1), submitted" in " ".join(stream.getvalue().split())
