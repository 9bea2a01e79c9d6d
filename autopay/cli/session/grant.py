"""`session grant` and `session export`: a fresh key, and the owner's word for what it may spend."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from autopay.adapters.solana.grant import GrantTerms, draft_again, finish_grant, is_shown, open_grant, send_grant
from autopay.cli.connect.connections import ledger_of, mint_of, vault_of
from autopay.cli.connect.console import note, print_json
from autopay.cli.connect.exit_codes import CommandError, examples_help
from autopay.cli.connect.invocation import HomeOption, JsonOption, run_async
from autopay.cli.connect.options import agent_name, amount_atomic, currency_of, session_s
from autopay.cli.session.options import host_rules, known_session, public_key, session_uuid
from autopay.cli.session.output import describe_grant, export_for_signing, print_granted
from autopay.cli.session.owner import known_wallet, owner_key, owner_node
from autopay.cli.session.signing_file import check_export
from autopay.settings import Settings

NEEDS = ("database_url", "solana_rpc_url")


def register(session: typer.Typer) -> None:
    """Add the commands to the group `session`."""
    grants = examples_help(
        "session grant trader --allowance 5 --tx-limit 500 --duration 24h",
        "session grant trader --host api.example.com --host '*.data.example' --owner-keypair ~/.config/solana/id.json",
        "session grant trader --allowance 5 --owner 7Yq3…PhantomAddress --export grant.json",
    )
    session.command("grant", epilog=grants)(grant)
    again = examples_help("session export 0191f0c4-6f1e-7c6b-8a51-0f3d2b1c9e77 grant.json")
    session.command("export", epilog=again)(export)


@dataclass(frozen=True)
class GrantOrder:
    """Who grants what to whom; with `export` the owner signs elsewhere."""

    agent: str
    terms: GrantTerms
    owner_keypair: Path | None
    owner: Pubkey | None
    export: Path | None


def grant(
    agent: Annotated[str, typer.Argument(help="The agent's name; a new one is made.")],
    allowance: Annotated[str, typer.Option(help="The most that the session can spend, in all.")] = "1.00",
    currency: Annotated[str, typer.Option(help="USDC or CASH.")] = "USDC",
    tx_limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many payments it may make.")] = 3,
    duration: Annotated[str, typer.Option(help="How long it lasts from the grant on: 1h, 7d.")] = "1h",
    host: Annotated[
        list[str] | None,
        typer.Option(
            help="Pay this host only: api.example.com, '*.example.com', with :port if it matters; repeatable."
        ),
    ] = None,
    owner_keypair: Annotated[
        Path | None, typer.Option(help="The owner's key, who signs the grant; used once, stored nowhere.")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="The owner's address, when another wallet signs.")] = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Write the unsigned transaction here, for another wallet to sign.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grant an agent a session: a fresh key that can spend the allowance and no more.

    The owner's transaction moves the allowance into an account of its own, which only that key may spend from. On the
    embedded chain a test wallet signs by itself. The agent's older session in that currency ends when the chain shows
    the new one; what is left in the old one comes back with `session revoke`.
    """
    if (owner is None) != (export_to is None) or (owner is not None and owner_keypair is not None):
        raise typer.BadParameter("another wallet signs with both --owner ADDRESS and --export FILE, and no keypair")
    name, money, amount, lasts = agent_name(agent), currency_of(currency), amount_atomic(allowance), session_s(duration)
    hosts, address = host_rules(host or []), None if owner is None else public_key(owner)
    if export_to is not None:
        check_export(export_to)
    settings = Settings.load(home=home).resolve(*NEEDS)
    terms = GrantTerms(money, mint_of(settings, money), amount, tx_limit, lasts, hosts)
    run_async(_grant(settings, GrantOrder(name, terms, owner_keypair, address, export_to), as_json))


async def _grant(settings: Settings, order: GrantOrder, as_json: bool) -> None:
    vault = vault_of(settings)
    async with ledger_of(settings) as ledger, owner_node(settings) as node, ledger.sessions.lock_agent(order.agent):
        await node.check_network()
        key = None if order.owner else await owner_key(settings, order.owner_keypair, [order.terms])
        owner = order.owner or _address_of(key)
        await known_wallet(ledger, order.agent, str(owner))
        record = await open_grant(node, ledger.sessions, vault, agent=order.agent, owner=owner, terms=order.terms)
        words = describe_grant(record, order.terms.duration_s)
        note("\n".join(words))
        if key is None:
            assert record.owner_transaction is not None
            assert order.export is not None
            asked = record.owner_transaction
            facts = await export_for_signing(settings, node, record, asked, words, order.export, quiet=as_json)
            if as_json:
                print_json(facts)
            return
        signature = await send_grant(node, ledger.sessions, record, key)
        await finish_grant(node, ledger.sessions, record)
        await print_granted(settings, node, ledger, record, signature, as_json)


def _address_of(key: Keypair | None) -> Pubkey:
    assert key is not None, "who does not sign elsewhere signs here"
    return key.pubkey()


def export(
    session_id: Annotated[str, typer.Argument(metavar="SESSION_ID", help="The session; see `session list`.")],
    file: Annotated[Path, typer.Argument(help="Where to write the unsigned transaction.", dir_okay=False)],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a fresh transaction for a session that waits for its owner.

    A transaction can be signed for about a minute only, as its blockhash expires; this one replaces the last.
    """
    found = session_uuid(session_id)
    check_export(file)
    run_async(_export(Settings.load(home=home).resolve(*NEEDS), found, file, as_json))


async def _export(settings: Settings, session_id: UUID, file: Path, as_json: bool) -> None:
    async with ledger_of(settings) as ledger, owner_node(settings) as node:
        record = await known_session(ledger, session_id)
        if record.granted or record.status != "ACTIVE":
            hint = f"take its money back: starter.py session revoke {session_id} --export {file}"
            raise CommandError(f"session {session_id} waits for no grant; {hint}")
        if await is_shown(node, record):
            raise CommandError(f"the grant is on chain already: starter.py session submit {session_id}")
        asked = await draft_again(node, ledger.sessions, record)
        facts = await export_for_signing(settings, node, record, asked, describe_grant(record), file, quiet=as_json)
        if as_json:
            print_json(facts)
