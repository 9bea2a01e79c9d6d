"""`rollout`: which build of the workers new work goes to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.connections import temporal_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.cli.terminal.tables import print_table
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.temporal.rollout import Build

POLL_S = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "rollout", epilog=examples_help("rollout", "rollout 2026-11-22.1 --wait 120", "rollout v7 --percent 5")
    )(rollout)


def rollout(
    build: Annotated[str | None, typer.Argument(help="The AUTOPAY_BUILD_ID of the new workers.")] = None,
    percent: Annotated[
        float | None, typer.Option(min=0, max=100, help="Send only this share of new payments to the build.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for its first worker.")] = 30,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send new work to a new build of the workers, or list builds.

    Start workers with AUTOPAY_BUILD_ID set to a new name, then run this with that name. Payments under way stay with
    the build that began them, agents move to the new one. Stop the old workers when their build is drained.
    """
    settings = Settings.load(home=home).resolve("home")
    found = run_async(_rollout(settings, build, percent, wait))
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    elif found:
        rows = ((each.build_id, each.state, f"{each.percent:g} %", f"{each.since:%F %T}") for each in found)
        print_table(("build", "state", "new work", "known since"), rows)
    else:
        print_line("no worker has an AUTOPAY_BUILD_ID: all workers are unversioned")


async def _rollout(settings: Settings, build: str | None, percent: float | None, wait_s: float) -> list[Build]:
    from autopay.temporal.rollout import UnknownBuild, builds, make_current

    client = await temporal_of(settings)
    if build is None:
        return await builds(client)
    deadline = time.monotonic() + wait_s
    while True:
        try:
            await make_current(client, build, percent=percent)
        except UnknownBuild as unknown:
            if time.monotonic() > deadline:
                raise CommandError(str(unknown), ExitCode.UNREACHABLE) from None
            await asyncio.sleep(POLL_S)
        else:
            note(f"new work goes to {build}" + (f" ({percent:g} % of it)" if percent is not None else ""), "green")
            return await builds(client)
