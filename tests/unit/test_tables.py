"""Tables in terminals of any width: nothing is cut, no word is broken, and every value can be copied."""

import ast
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from autopay.cli.terminal.tables import FittedTable, print_table, show_table, wrapped

CLI = Path(__file__).parents[2] / "autopay" / "cli"
WIDTHS = (40, 60, 80, 120, 200)
LIVE_VIEW = {"demo/live_view.py"}
"""The demo's live view, which is repainted all the time; what it prints for good is lines."""

SIGNATURE = "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW"
VALUES = (
    "ef5bba23-8ed9-4e61-93a2-1ad3b3a2d1f0",
    "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",
    SIGNATURE,
    "https://api.example.com/v1/insights?topic=fees&window=2026-11-28T00%3A00%3A00Z&depth=a-very-long-value",
    "market-20261122T161632-again",
    "0.001234 USDC",
    "the seller refuses for good since it was paid: HTTP 409, and says that this payment was used for something else",
    "",
    "größe 価格の答え",
)


def tables_of_commands() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The columns of each table that a command prints, as its source has them."""
    for path in sorted(CLI.rglob("*.py")):
        tree = ast.parse(path.read_text())
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            tuples = [node for node in ast.walk(function) if isinstance(node, ast.Tuple)]
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                if not (isinstance(call.func, ast.Name) and call.func.id in ("print_table", "FittedTable")):
                    continue
                given = [call.args[0]] if isinstance(call.args[0], ast.Tuple) else tuples
                heads = [found for each in given if (found := _texts(each))]
                for head in heads[:1] if isinstance(call.args[0], ast.Tuple) else heads:
                    yield f"{path.relative_to(CLI)}:{call.lineno}", head


def _texts(node: ast.expr) -> tuple[str, ...]:
    """The texts of a tuple of texts; () for any other."""
    assert isinstance(node, ast.Tuple)
    values = [each.value for each in node.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return tuple(values) if values and len(values) == len(node.elts) else ()


HEADS = sorted({head for _, head in tables_of_commands()})


def shown(table: FittedTable, width: int) -> list[str]:
    """Its lines in a terminal of that width, without styles."""
    stream = io.StringIO()
    show_table(table, Console(file=stream, width=width, force_terminal=False))
    return stream.getvalue().splitlines()


def test_the_tables_of_the_commands_are_found() -> None:
    where = {place.partition(":")[0] for place, _ in tables_of_commands()}
    assert where >= {
        "agent/agents.py", "agent/queue.py", "agent/status_page.py", "agent/rules.py", "launch/launch.py",
        "ledger/disputes.py", "ledger/output.py", "ledger/reconcile.py", "session/list.py", "policy/show.py",
        "policy/payees.py", "policy/set.py", "operate/rollout.py", "operate/weather.py", "demo/summary.py",
    }  # fmt: skip
    assert next(head for head in HEADS if head[0] == "session" and len(head) > 6)[:3] == ("session", "agent", "status")


def test_every_table_of_the_commands_is_such_a_table() -> None:
    others = {str(path.relative_to(CLI)) for path in CLI.rglob("*.py") if "rich.table" in path.read_text()}
    assert others == LIVE_VIEW


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("columns", HEADS, ids=" ".join)
def test_every_value_of_every_table_is_whole_at_every_width(columns: tuple[str, ...], width: int) -> None:
    for turn in range(len(VALUES)):
        row = [VALUES[(at + turn) % len(VALUES)] for at in range(len(columns))]
        lines = shown(FittedTable(columns, [row, row]), width)
        words = " ".join(lines).split()
        for value in row:
            assert words.count(value.split(" ")[0]) >= 2 or not value
            assert all(word in words for word in value.split())
        for line in lines:
            assert cell_len(line) <= width or " " not in line.strip(), line


def test_a_row_that_fits_is_one_line() -> None:
    table = FittedTable(("agent", "state", "transaction"), [("trader", "running", SIGNATURE)])
    assert len(shown(table, 120)) == 2
    assert shown(table, 80) == ["agent   state", "trader  running", "  transaction", f"  {SIGNATURE}"]


def test_cells_that_do_not_fit_stand_below_their_row_by_name_and_empty_ones_are_left_out() -> None:
    table = FittedTable(("agent", "phase", "note", "delivery", "tries"), [("a" * 20, "full", "n" * 9, "", 2)])
    assert shown(table, 30) == ["agent                 phase", f"{'a' * 20}  full", f"  note {'n' * 9}  tries 2"]


def test_a_long_text_at_the_end_is_wrapped_in_its_column() -> None:
    table = FittedTable(
        ("limit", "allows"), [("hosts", "every host that the policy of all agents names"), ("day", "1")]
    )
    assert shown(table, 36) == [
        "limit  allows",
        "hosts  every host that the policy of",
        "       all agents names",
        "day    1",
    ]


def test_numbers_end_at_their_columns_right() -> None:
    table = FittedTable(("amount", "for"), [("1.5 USDC", "a"), ("10.25 USDC", "b")], right=("amount",))
    assert shown(table, 80) == ["    amount  for", "  1.5 USDC  a", "10.25 USDC  b"]


def test_a_value_with_line_ends_tabs_and_controls_stays_in_its_row() -> None:
    assert (
        shown(FittedTable(("a", "b"), [("x\ny\tz", "\x1b[31mred\r\n[bold]")]), 80)[1] == "x y z  \ufffd[31mred [bold]"
    )


def test_in_a_pipe_each_row_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("what", "why"), [(SIGNATURE, "w" * 5_000)], title="\nTitle")
    assert capsys.readouterr().out.splitlines() == ["", "Title", f"{'what':<88}  why", f"{SIGNATURE}  {'w' * 5_000}"]


@pytest.mark.parametrize("width", [1, 5, 20])
def test_wrapping_breaks_at_spaces_only(width: int) -> None:
    text = "one longer-word 価格 and another"
    assert " ".join(wrapped(text, width)) == text


def test_the_name_of_a_long_value_stays_beside_what_is_before_it() -> None:
    table = FittedTable(("request", "delivery", "transaction"), [("a" * 60, "DELIVERED", SIGNATURE)])
    assert shown(table, 70)[2:] == ["  delivery DELIVERED  transaction", f"  {SIGNATURE}"]
