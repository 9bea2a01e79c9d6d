"""The group `vault`: `vault rotate` puts what is sealed in the ledger under the newest key."""

import asyncio
from dataclasses import dataclass, field
from uuid import UUID

import typer

from autopay.adapters.postgres import open_ledger
from autopay.adapters.postgres.maintenance.maintenance import Maintenance
from autopay.adapters.postgres.maintenance.reseal import COLUMNS, SealedColumn
from autopay.adapters.vault import Keyring, Vault
from autopay.cli.connect.connections import keyring_of
from autopay.cli.connect.console import note, print_json, print_line
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.exit_codes import ExitCode, examples_help
from autopay.cli.connect.options import HomeOption, JsonOption
from autopay.settings import Settings

ROUNDS = 20
"""Walks over the rows; only those that a payment held at that moment are left for the next."""

PAUSE_S = 0.5

vault = typer.Typer(help="What is sealed in the ledger.", no_args_is_help=True)


@vault.callback()
def _vault() -> None:
    """What is sealed in the ledger."""


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(vault, name="vault")


@dataclass
class Rotation:
    """What was done, and what is left. `sealed` counts rows by key version, by column."""

    newest: int
    old: tuple[int, ...]
    resealed: dict[str, int] = field(default_factory=dict)
    sealed: dict[str, dict[str, int]] = field(default_factory=dict)
    unreadable: dict[str, tuple[UUID, ...]] = field(default_factory=dict)

    @property
    def remaining(self) -> int:
        """Rows that the newest key has not sealed."""
        return sum(n for rows in self.sealed.values() for version, n in rows.items() if version != f"v{self.newest}")

    @property
    def unused(self) -> list[int]:
        """Old versions that no row of the ledger needs any more."""
        return [version for version in self.old if not any(f"v{version}" in rows for rows in self.sealed.values())]

    def as_json(self) -> dict[str, object]:
        """The line that programs read."""
        return {
            "newest": self.newest,
            "resealed": self.resealed,
            "sealed": self.sealed,
            "unreadable": {name: [str(row) for row in rows] for name, rows in self.unreadable.items()},
            "remaining": self.remaining,
            "unused_in_ledger": self.unused,
        }


@vault.command(epilog=examples_help("keyring --add", "vault rotate", "vault rotate --json"))
def rotate(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Seal everything in the ledger with the newest key of AUTOPAY_KEYRING.

    Session keys, payments, headers and bodies, in small batches beside running workers. It may be interrupted at any
    moment, and run again: it goes on where it was. First add a key (keyring --add) and give it to every worker.

    An old key may leave the keyring when no row needs it, and these are gone too: workflows that run since before the
    rotation, and closed ones until Temporal's retention has passed, as their histories are sealed with it; and backups
    from before. Version 0 always stays.
    Exits 1 while rows remain that older keys sealed.
    """
    settings = Settings.load(home=home).resolve("database_url", "keyring")
    rotation = run_async(_rotate(settings, keyring_of(settings)))
    if as_json:
        print_json(rotation.as_json())
    else:
        _show(rotation)
    raise typer.Exit(ExitCode.FAULT if rotation.remaining else ExitCode.OK)


async def _rotate(settings: Settings, keyring: Keyring) -> Rotation:
    rotation = Rotation(keyring.newest, keyring.old)
    ledger = open_ledger(settings.database_url)
    try:
        for column in COLUMNS:
            await _reseal(ledger.maintenance, column, Vault(keyring), rotation)
        for column in COLUMNS:
            rotation.sealed[column.name] = await ledger.maintenance.key_versions(column)
    finally:
        await ledger.dispose()
    return rotation


async def _reseal(maintenance: Maintenance, column: SealedColumn, keys: Vault, rotation: Rotation) -> None:
    """Rounds until only what cannot be opened is left."""
    done = 0
    for _ in range(ROUNDS):
        unreadable: list[UUID] = []
        async for batch in maintenance.reseal(column, keys):
            done += batch.resealed
            unreadable += batch.unreadable
            note(f"{column.name}: {done} sealed anew")
        rotation.resealed[column.name], rotation.unreadable[column.name] = done, tuple(unreadable)
        versions = await maintenance.key_versions(column)
        if sum(versions.values()) - versions.get(keys.newest_mark.rstrip("."), 0) <= len(unreadable):
            return
        await asyncio.sleep(PAUSE_S)


def _show(rotation: Rotation) -> None:
    for name, rows in rotation.sealed.items():
        held = ", ".join(f"{count} with {version}" for version, count in rows.items()) or "none"
        print_line(f"{name}: {rotation.resealed[name]} sealed anew; now {held}")
    for name, unreadable in rotation.unreadable.items():
        for row in unreadable:
            note(f"no key opens {name} of row {row}", "yellow")
    if rotation.remaining:
        note(f"{rotation.remaining} remain under older keys: run it again", "yellow")
    elif rotation.old:
        versions = ", ".join(map(str, rotation.old))
        print_line(
            f"The ledger needs version {versions} no more. Keep it until the workflows from before the rotation have"
            " ended, Temporal's retention has passed since, and no backup from before is wanted."
        )
