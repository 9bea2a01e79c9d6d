"""The group `vault`: `vault rotate` encrypts all secrets in the ledger with the newest key."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.command_group import command_group
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.delegation.connections import vault_for
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres.maintenance.reseal import SealedColumn, SealedColumns
    from autopay.adapters.vault import Vault

ROUNDS = 20
"""Walks over the rows; only those that a payment held at that moment are left for the next."""

PAUSE_S = 0.5

HELP = "Encrypt the ledger's secrets with a new key."


def register(app: typer.Typer) -> None:
    """Add the group."""
    vault = command_group(HELP)
    vault.callback()(_vault)  # else typer makes a group with one command that command
    vault.command("rotate", epilog=examples_help("keyring --add", "vault rotate", "vault rotate --json"))(rotate)
    app.add_typer(vault, name="vault")


def _vault() -> None:
    """Encrypt the ledger's secrets with a new key."""


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


def rotate(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Encrypt all secrets with the newest key of AUTOPAY_KEYRING.

    Session keys, payments, headers and bodies, in small batches while workers run. You can interrupt it at any moment
    and run it again: it goes on where it was. First add a key (keyring --add) and give it to every worker.

    You may remove an old key from the keyring when no row needs it, workflows from before the rotation have ended and
    Temporal's retention has passed since, as their histories are encrypted with it, and you need no backup from before.
    Version 0 must always stay. Exits 1 while rows remain that are encrypted with older keys.
    """
    settings = Settings.load(home=home).resolve("database_url", "keyring")
    rotation = run_async(_rotate(settings))
    if as_json:
        print_json(rotation.as_json())
    else:
        _show(rotation)
    raise typer.Exit(ExitCode.FAULT if rotation.remaining else ExitCode.OK)


async def _rotate(settings: Settings) -> Rotation:
    from autopay.adapters.postgres.maintenance.reseal import COLUMNS
    from autopay.temporal.connection import keyring_of

    keyring = keyring_of(settings)
    rotation = Rotation(keyring.newest, keyring.old)
    async with ledger_of(settings) as ledger:
        vault = await vault_for(ledger, settings)
        for column in COLUMNS:
            await _reseal(ledger.sealed, column, vault, rotation)
        for column in COLUMNS:
            rotation.sealed[column.name] = await ledger.sealed.key_versions(column)
    return rotation


async def _reseal(sealed: SealedColumns, column: SealedColumn, keys: Vault, rotation: Rotation) -> None:
    """Rounds until only what cannot be opened is left."""
    done = 0
    for _ in range(ROUNDS):
        unreadable: list[UUID] = []
        async for batch in sealed.reseal(column, keys):
            done += batch.resealed
            unreadable += batch.unreadable
            note(f"{column.name}: {done} encrypted again")
        rotation.resealed[column.name], rotation.unreadable[column.name] = done, tuple(unreadable)
        versions = await sealed.key_versions(column)
        if sum(versions.values()) - versions.get(keys.newest_mark.rstrip("."), 0) <= len(unreadable):
            return
        await asyncio.sleep(PAUSE_S)


def _show(rotation: Rotation) -> None:
    for name, rows in rotation.sealed.items():
        held = ", ".join(f"{count} with {version}" for version, count in rows.items()) or "none"
        print_line(f"{name}: {rotation.resealed[name]} encrypted again; now {held}")
    for name, unreadable in rotation.unreadable.items():
        for row in unreadable:
            note(f"no key decrypts {name} of row {row}", "yellow")
    if rotation.remaining:
        note(f"{rotation.remaining} rows are still encrypted with older keys: run it again", "yellow")
    elif rotation.old:
        versions = ", ".join(map(str, rotation.old))
        print_line(
            f"The ledger no longer needs version {versions}. Keep it until the workflows from before the rotation have"
            " ended, Temporal's retention has passed since, and you need no backup from before."
        )
