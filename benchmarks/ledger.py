"""How fast the ledger reads at a million payments: `make bench-ledger`.

Builds the ledger on an embedded PostgreSQL of its own, explains every query that the commands run, fails when one of
them reads a big table from end to end, and writes `ledger.md` beside this file.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory
from sqlalchemy import ClauseElement, Connection, Executable, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from autopay.adapters.postgres.maintenance import migrations
from autopay.top_level import MIGRATIONS
from benchmarks.ledger_database import database_server, filled
from benchmarks.ledger_probes import Probe, probes
from benchmarks.ledger_rows import Shape
from benchmarks.machine import machine, tell
from benchmarks.page import ledger_alone, told

BIG = frozenset({"transactions", "api_request_logs", "balance_snapshots", "audit_events"})
RUNS = 5
REPORT = Path(__file__).with_suffix(".md")
INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_size_pretty(pg_relation_size(indexrelid)) AS size
  FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
 WHERE relname = ANY(:tables) AND indexrelid::regclass::text = ANY(:names) ORDER BY 1
"""


class Explained(Executable, ClauseElement):
    """EXPLAIN (ANALYZE, BUFFERS) of a statement, with its parameters."""

    inherit_cache = False

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement


@compiles(Explained)
def _explained(element: Explained, compiler: SQLCompiler, **kw: Any) -> str:
    return f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {compiler.process(element.statement, **kw)}"


@dataclass(frozen=True)
class Measured:
    """What a query cost: milliseconds (median), 8 kB pages touched, rows, and how its tables were read."""

    ms: float
    pages: int
    rows: int
    indexes: tuple[str, ...]
    whole_tables: tuple[str, ...]


@dataclass
class Report:
    """Lines of the report, and what was wrong."""

    lines: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Measure, write the report, and end with 1 when a query reads a big table from end to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="payments (1000000)")
    parser.add_argument("--home", type=Path, help="keep the database here, and use it again")
    parser.add_argument("--out", type=Path, default=REPORT, help="the report")
    options = parser.parse_args()
    with database_server(options.home) as server, filled(server.url(), options.rows, Shape()) as connection:
        connection.execute(text("SET statement_timeout = 0"))
        report = _report(connection)
        connection.rollback()
        tell("  the page and the API")
        report.lines += ["", "## What a browser or a program waits for", "", "Temporal and the chain are away."]
        report.lines += told(ledger_alone(server.url()))
    options.out.write_text("\n".join(report.lines) + "\n")
    tell(f"written: {options.out}")
    for fault in report.faults:
        tell(f"FAILED: {fault}")
    return 1 if report.faults else 0


def _report(connection: Connection) -> Report:
    report = Report()
    report.lines += _heading(connection)
    for group, members in probes(connection).items():
        report.lines += ["", f"## {group}", "", "| query | rows | ms | pages | read through |", "|---|--:|--:|--:|---|"]
        for probe in members:
            tell(f"  {group}: {probe.title}")
            measured = _measure(connection, probe)
            report.lines.append(_row(probe.title, measured))
            if measured.whole_tables:
                report.faults.append(f"{probe.title}: reads all of {', '.join(measured.whole_tables)}")
            if probe.index is not None:
                without = f"without `{probe.index}`"
                report.lines.append(_changed(connection, probe, without, f"DROP INDEX {probe.index}"))
            if probe.old_view:
                report.lines.append(_changed(connection, probe, "with the view as it was before 0007", _old_view()))
    report.lines += _sizes(connection)
    return report


def _heading(connection: Connection) -> list[str]:
    counts = {name: connection.scalar(text(f"SELECT count(*) FROM {name}")) for name in sorted(BIG)}  # noqa: S608
    version = connection.scalar(text("SHOW server_version"))
    buffers = connection.scalar(text("SHOW shared_buffers"))
    rows = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return [
        "# Reading the ledger at a million payments",
        "",
        f"Written by `make bench-ledger` on {datetime.now(UTC):%F}; run it to repeat this (ten minutes, 6 GB of disk).",
        "",
        f"- machine: {machine()}",
        f"- PostgreSQL {version}, as it comes (shared_buffers {buffers}), schema at {migrations.head()}",
        f"- rows: {rows}",
        "",
        f"Each query is the one that the command runs. ms: median of {RUNS} runs within the server. Pages: 8 kB each, "
        "cached or not. The run fails when a query reads one of these tables from end to end; … are the same queries "
        "without what they stand on.",
    ]


def _sizes(connection: Connection) -> list[str]:
    sizes = connection.execute(text(INDEXES), {"tables": sorted(BIG), "names": [*NEW_INDEXES]})
    return ["", "## What the indexes weigh", "", "| index | size |", "|---|--:|"] + [
        f"| `{row.name}` | {row.size} |" for row in sizes
    ]


NEW_INDEXES: Sequence[str] = (
    "ix_transactions_created_at",
    "ix_transactions_status_created_at",
    "ix_api_request_logs_created_at",
    "ix_api_request_logs_prunable",
    "ix_balance_snapshots_snapshot_at",
    "ix_audit_events_agent_id_xid_id",
)


def _measure(connection: Connection, probe: Probe, runs: int = RUNS) -> Measured:
    plans = [connection.execute(Explained(probe.statement)).scalar_one()[0] for _ in range(runs)]
    nodes = list(_nodes(plans[-1]["Plan"]))
    top = plans[-1]["Plan"]
    return Measured(
        ms=statistics.median(plan["Execution Time"] for plan in plans),
        pages=top["Shared Hit Blocks"] + top["Shared Read Blocks"],
        rows=round(top["Actual Rows"]),
        indexes=tuple(dict.fromkeys(node["Index Name"] for node in nodes if "Index Name" in node)),
        whole_tables=tuple(
            node["Relation Name"]
            for node in nodes
            if node["Node Type"].endswith("Seq Scan") and node["Relation Name"] in BIG and node["Actual Loops"]
        ),
    )


def _changed(connection: Connection, probe: Probe, what: str, *statements: str) -> str:
    """A row for the same query in a transaction that changes the schema, and is rolled back."""
    connection.execute(text("BEGIN"))
    for statement in statements:
        connection.execute(text(statement))
    measured = _measure(connection, probe, runs=2)
    connection.execute(text("ROLLBACK"))
    return _row(f"… {what}", measured)


def _row(title: str, measured: Measured) -> str:
    how = ", ".join(
        [*(f"`{name}`" for name in measured.indexes), *(f"all of {name}" for name in measured.whole_tables)]
    )
    return f"| {title} | {measured.rows} | {measured.ms:.1f} | {measured.pages} | {how} |"


def _old_view() -> str:
    revision = ScriptDirectory(str(MIGRATIONS)).get_revision("0007_readers")
    return str(revision.module.AUDIT_TRAIL_VIEW_0004)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from _nodes(part)


if __name__ == "__main__":
    sys.exit(main())
