"""The commands that read the ledger, on a real PostgreSQL and nothing else."""

import csv
import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import typer
from rich.console import Console

from autopay.cli.ledger.filters import parse_time
from autopay.cli.ledger.output import PAYMENT_FIELDS, SPEND_FIELDS, print_payments
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.report.rows import PaymentRow
from autopay.domain.request import RequestStatus
from tests.ledger.books import Book
from tests.ledger.operator import Operator

NOW = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
"""Long ago or far ahead, it does not matter: only `parse_time` is asked about it."""


async def three_payments(book: Book) -> None:
    """Of an agent "buyer": delivered, dead, open."""
    first = await book.recorded()
    await book.delivered(first)
    await book.settled(first)
    await book.end(first.request_key, RequestStatus.DELIVERED)
    await book.ledger.payments.record_dead((await book.recorded()).attempt_id, "expired_unsettled")
    await book.recorded()


def test_show_pages_as_table_lines_and_csv(operator: Operator) -> None:
    operator.do(three_payments)
    out, err = operator("ledger", "show")
    assert len(out.splitlines()) == 4
    assert "FAILED expired_unsettled" in out
    assert err == ""
    rows = operator.lines("ledger", "show")
    assert [(row["request_id"], row["status"], row["amount"]) for row in rows] == [
        ("request-3", "PENDING", "0.001000"),
        ("request-2", "FAILED", "0.001000"),
        ("request-1", "VERIFIED", "0.001000"),
    ]
    _, err = operator("ledger", "show", "--limit", "2")
    assert err.strip() == f"there are more: --after {rows[1]['cursor']}"
    assert operator.lines("ledger", "show", "--after", rows[1]["cursor"]) == rows[2:]
    table = list(csv.DictReader(io.StringIO(operator("ledger", "show", "--csv")[0])))
    assert tuple(table[0]) == PAYMENT_FIELDS
    assert [row["cursor"] for row in table] == [row["cursor"] for row in rows]
    assert [row["status"] for row in operator.lines("ledger", "show", "--status", "failed", "--since", "2h")] == [
        "FAILED"
    ]
    assert "no such payment" in operator("ledger", "show", "--until", "yesterday")[1]


def test_show_all_is_the_audit_trail(operator: Operator) -> None:
    operator.do(three_payments)
    rows = operator.lines("ledger", "show", "--kind", "all", "--agent", "buyer")
    assert sorted(row["kind"] for row in rows) == ["request"] * 3 + ["transaction"] * 3
    out, _ = operator("ledger", "show", "--kind", "all", "--status", "delivered")
    assert len(out.splitlines()) == 2
    assert "/api/market-feed" in out


def test_export_writes_all_of_it_or_no_file(operator: Operator, tmp_path: Path) -> None:
    operator.do(three_payments)
    out, err = operator("ledger", "export", "--format", "jsonl")
    assert [json.loads(line) for line in out.splitlines()] == operator.lines("ledger", "show")
    assert "3 payments" in err
    target = tmp_path / "payments.csv"
    operator("ledger", "export", "--out", str(target), "--status", "VERIFIED")
    assert [row["status"] for row in csv.DictReader(io.StringIO(target.read_text()))] == ["VERIFIED"]
    operator("ledger", "export", "--out", str(target), "--agent", "nobody", code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["payments.csv"]
    assert len(target.read_text().splitlines()) == 2
    empty, _ = operator("ledger", "export", "--endpoint", "/none")
    assert empty.strip() == ",".join(PAYMENT_FIELDS)
    assert "No such file" in operator("ledger", "export", "--out", "/nowhere/at/all", code=1)[1]


def test_spend_tells_settled_open_and_failed_apart_with_totals(operator: Operator) -> None:
    operator.do(three_payments)
    (row,) = operator.lines("ledger", "spend", "--by", "endpoint")
    assert row == {
        "key": "/api/market-feed", "network": "DEVNET", "currency": "USDC", "settled": "0.001000",
        "settled_payments": 1, "open": "0.001000", "open_payments": 1, "failed_payments": 1,
    }  # fmt: skip
    assert tuple(row) == SPEND_FIELDS
    out, _ = operator("ledger", "spend", "--by", "day")
    assert [line.split()[0] for line in out.splitlines()] == ["day", f"{datetime.now(UTC):%F}", "total"]
    assert "total" not in operator("ledger", "spend")[0]
    assert operator("ledger", "spend", "--csv")[0].startswith("key,network,currency,settled,")


def test_prune_counts_first_and_then_the_request_says_that_its_content_is_gone(operator: Operator) -> None:
    operator.do(three_payments)
    url = "https://market.test/api/market-feed?x=1"
    asked = ("request", url, "--agent", "buyer", "--id", "request-1")
    assert json.loads(operator(*asked)[0]) == {"price": 42, "a": "b"}
    assert "the content of 0 requests" in operator("ledger", "prune", "--older-than", "90d")[0]
    deadline = time.monotonic() + 30
    while (counted := operator.lines("ledger", "prune", "--older-than", "1s", "--dry-run")[0])["requests"] == 0:
        assert time.monotonic() < deadline  # until a second has passed since it ended
    (done,) = operator.lines("ledger", "prune", "--older-than", "1s")
    assert (counted["requests"], counted["dry_run"], done["requests"], done["dry_run"]) == (1, True, 1, False)
    out, err = operator(*asked, code=1)
    assert out == ""
    assert "request-1: delivered, paid 0.001" in err
    assert "thrown away" in err
    assert operator.lines(*asked)[0]["status"] == "delivered"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ledger", "show", "--since", "soon"], "not a time like"),
        (["ledger", "show", "--since", "2026"], "not a time like"),
        (["ledger", "show", "--status", "LOST"], "not a payment's status"),
        (["ledger", "show", "--after", "x"], "not a cursor"),
        (["ledger", "show", "--min", "-1"], "not an amount"),
        (["ledger", "show", "--json", "--csv"], "give --json or --csv, not both"),
        (["ledger", "show", "--agent", "nobody"], "no agent 'nobody'"),
        (["ledger", "spend", "--by", "moon"], "'moon' is not one of"),
        (["ledger", "prune"], "Missing option"),
        (["ledger", "prune", "--older-than", "long"], "not a duration"),
    ],
)
def test_a_mistake_is_one_sentence(operator: Operator, arguments: list[str], says: str) -> None:
    assert says in operator(*arguments, code=2)[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("90d", NOW - timedelta(days=90)),
        ("now", NOW),
        ("today", datetime(2026, 11, 22, tzinfo=UTC)),
        ("Yesterday", datetime(2026, 11, 21, tzinfo=UTC)),
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:00:00+02:00", datetime(2026, 11, 1, 8, tzinfo=UTC)),
        ("2026-11-01T10:00Z", datetime(2026, 11, 1, 10, tzinfo=UTC)),
    ],
)
def test_a_moment_is_said_in_several_ways(text: str, expected: datetime) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize("text", ["", "12", "20261122x", "-2h", "99999999999d", "tomorrow"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_time(text, NOW)


@pytest.mark.parametrize("width", [60, 80, 109, 120, 200])
def test_a_table_is_readable_in_a_terminal_of_that_width(width: int) -> None:
    row = PaymentRow(
        attempt_id=UUID(int=1), created_at=NOW, agent="market-watcher", request_id="market-20261122T161632-again",
        request_key="ap_1", url="https://market.test/api", endpoint="/api", number=1, sends=1, status="FAILED",
        delivery="UNDELIVERED", amount_atomic=1_234_567, currency=Currency.USDC, network=Network.DEVNET, pay_to="x",
        hash="h" * 88, error_type="REJECTED", error_code="expired_unsettled", verification_hash=None,
    )  # fmt: skip
    stream = io.StringIO()
    print_payments([row, row], Console(file=stream, width=width, force_terminal=False))
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= width or line.strip() == "h" * 88 for line in lines)
    starts = [at for at, line in enumerate(lines) if "12:30:00" in line]
    assert len(starts) == 2
    for shown in (" ".join(lines[starts[0] : starts[1]]), " ".join(lines[starts[1] :])):
        cells = ("market-watcher", "market-20261122T161632-again", "FAILED expired_unsettled", "1.234567 USDC")
        for whole in (*cells, "UNDELIVERED", "h" * 88):
            assert whole in shown
