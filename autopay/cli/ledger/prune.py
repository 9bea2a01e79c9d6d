"""`ledger prune`: deletes the content of old requests, and keeps everything else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, whole_seconds
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres.maintenance.maintenance import Prunable


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help("ledger prune --older-than 90d --dry-run", "ledger prune --older-than 90d --json")
    ledger.command("prune", epilog=shown)(prune)


def prune(
    older_than: Annotated[str, typer.Option(help="Delete the content of requests that ended longer ago: 90d.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count; delete nothing.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete the content of old requests.

    To get it again you must pay again. Requests, payments and the hash of each content stay. It works in small steps
    while payments go on; Ctrl-C ends it between two steps.
    """
    before = datetime.now(UTC) - timedelta(seconds=whole_seconds(older_than))
    settings = Settings.load(home=home).resolve("database_url")
    done = run_async(prune_ledger(settings, before, dry_run=dry_run))
    if as_json:
        print_json({"requests": done.requests, "body_bytes": done.body_bytes, "before": before, "dry_run": dry_run})
        return
    verb = "would be deleted" if dry_run else "deleted"
    print_line(f"{verb}: the content of {done.requests} requests that ended before {before:%F %T}, {_size(done)}")
    if not dry_run and done.requests:
        note("the hash of each is kept; the database reuses the space after its next vacuum")


async def prune_ledger(settings: Settings, before: datetime, *, dry_run: bool) -> Prunable:
    """Delete the content of requests that ended before that moment, or only count it."""
    from autopay.adapters.postgres.maintenance.maintenance import Prunable

    async with ledger_of(settings) as ledger:
        if dry_run:
            return await ledger.maintenance.prunable(before)
        requests = body_bytes = 0
        async for batch in ledger.maintenance.prune(before):
            requests, body_bytes = requests + batch.requests, body_bytes + batch.body_bytes
        return Prunable(requests=requests, body_bytes=body_bytes)


def _size(done: Prunable) -> str:
    return f"{done.body_bytes / 1_000_000:.1f} MB" if done.body_bytes >= 100_000 else f"{done.body_bytes} bytes"
