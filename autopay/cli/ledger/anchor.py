"""`ledger anchor`: writes one hash over the whole ledger into the Solana chain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.connections import node_rpc
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.files import read_keypair
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.domain.errors import SettingsError
from autopay.settings import Settings
from autopay.settings.stack_file import OWNER_FILE

if TYPE_CHECKING:
    from solders.keypair import Keypair

    from autopay.adapters.solana.anchoring import AnchorResult


def register(ledger: typer.Typer) -> None:
    """Add the command to the group `ledger`."""
    shown = examples_help("ledger anchor", "ledger anchor --keypair ~/.config/solana/anchor.json --json")
    ledger.command("anchor", epilog=shown)(anchor)


def anchor(
    keypair: Annotated[
        Path | None, typer.Option(help="Key of the wallet that pays the fee.", show_default="AUTOPAY_ANCHOR_KEYPAIR")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Anchor the ledger on chain, against changes of its history.

    From then on its history cannot be written anew without `ledger verify` seeing it.

    One memo on the Solana chain commits to the newest event of every agent. Run it by a timer: what it protects is
    what came before it. Run again after a crash it goes on where it was.
    """
    given = None if keypair is None else str(keypair)
    settings = Settings.load(home=home, anchor_keypair=given).resolve("database_url", "solana_rpc_url")
    done = run_async(anchor_ledger(settings, anchor_key(settings)))
    found = done.anchor
    if as_json:
        print_json(found.model_dump(mode="json", exclude={"heads", "wire"}) | {"chains": done.heads, "new": done.fresh})
    elif done.fresh:
        note(f"anchored {done.heads} chains of events in slot {found.slot}", "green")
        print_line(found.signature)
    else:
        note(f"nothing happened since the anchor of {found.created_at:%F %T} UTC")
        print_line(found.signature)


async def anchor_ledger(settings: Settings, key: Keypair) -> AnchorResult:
    """Anchor all chains of events as they are now; see `anchor_now`. On the embedded chain the wallet is given SOL."""
    from autopay.adapters.postgres import open_ledger
    from autopay.adapters.solana.anchoring import AnchorChain, anchor_now

    ledger = open_ledger(settings.database_url)
    rpc = node_rpc(settings)
    try:
        if settings.on_localnet:
            from localnet.tokens import ensure_sol

            await ensure_sol(settings.solana_rpc_url, key.pubkey())
        return await anchor_now(ledger.audit, AnchorChain(rpc), key, settings.network)
    finally:
        await rpc.close()
        await ledger.dispose()


def anchor_wallet(settings: Settings) -> str | None:
    """The address of the wallet that anchors, when its key is set here; an auditor may have none."""
    return str(anchor_key(settings).pubkey()) if settings.anchor_keypair else None


def anchor_key(settings: Settings) -> Keypair:
    """The key in the Solana CLI's format, never quoted in an error; on the embedded chain its test wallet's."""
    if not settings.anchor_keypair:
        if not settings.on_localnet:
            raise SettingsError("AUTOPAY_ANCHOR_KEYPAIR is not set: the wallet that pays for anchors signs them")
        from localnet.tokens import load_or_create_keypair

        return load_or_create_keypair(settings.home / OWNER_FILE)
    return read_keypair(Path(settings.anchor_keypair), "--keypair or AUTOPAY_ANCHOR_KEYPAIR")
