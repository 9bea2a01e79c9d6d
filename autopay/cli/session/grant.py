"""`session grant`: a fresh key for an agent, and the owner's transaction that lets it spend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.connections import ledger_and_temporal, ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.session.output import print_granted
from autopay.cli.session.owner import owner_key
from autopay.cli.session.signing_file import check_export, export_for_signing
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import (
    DEFAULT_ALLOWANCE,
    DurationOption,
    HomeOption,
    JsonOption,
    OwnerKeypairOption,
    TxLimitOption,
    agent_name,
    amount_atomic,
    complete_currency,
    currency_of,
    host_rules,
    session_s,
    solana_address,
)
from autopay.client.agents.grant_hint import too_small_a_grant
from autopay.delegation.connections import OwnerConnections, mint_of, owner_node, vault_for
from autopay.domain.money import Currency
from autopay.domain.session import session_scope
from autopay.settings import Settings

if TYPE_CHECKING:
    from solders.keypair import Keypair
    from solders.pubkey import Pubkey

    from autopay.adapters.solana.owner.grant import GrantTerms
    from autopay.delegation.drafts import AgentNeeds


def register(session: typer.Typer) -> None:
    """Add the command to the group `session`."""
    grants = examples_help(
        "session grant trader --allowance 5 --tx-limit 500 --duration 24h",
        "session grant trader --host api.example.com --host '*.data.example' --owner-keypair ~/.config/solana/id.json",
        "session grant trader --allowance 5 --owner 7Yq3…PhantomAddress --export grant.json",
    )
    session.command("grant", epilog=grants)(grant)


@dataclass(frozen=True)
class GrantOrder:
    """What is granted, and who signs: the key of a file, or with `owner` and `export` another wallet."""

    agent: str
    terms: GrantTerms
    owner_keypair: Path | None
    owner: Pubkey | None
    export: Path | None


def grant(
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name; made if there is none.")],
    allowance: Annotated[str, typer.Option(help="The most that the session can spend, in all.")] = DEFAULT_ALLOWANCE,
    currency: Annotated[str, typer.Option(autocompletion=complete_currency, help="USDC or CASH.")] = "USDC",
    tx_limit: TxLimitOption = None,
    duration: DurationOption = None,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Pay only this host: api.example.com, '*.example.com', api.example.com:8443; repeatable."),
    ] = None,
    owner_keypair: OwnerKeypairOption = None,
    owner: Annotated[str | None, typer.Option(help="The owner's address, when another wallet signs.")] = None,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Write the unsigned transaction here, for another wallet to sign.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Grant an agent a new key with an allowance.

    The owner's transaction moves the allowance into an account of its own, which only that key may spend from. On the
    embedded chain a test wallet signs by itself. The agent's older session in that currency ends when the chain shows
    the new one; use `session revoke` to get back what is left in the old one.
    """
    if (owner is None) != (export_to is None) or (owner is not None and owner_keypair is not None):
        raise typer.BadParameter(
            "for another wallet to sign, give --owner ADDRESS and --export FILE, without --owner-keypair"
        )
    name, money, amount = agent_name(agent), currency_of(currency), amount_atomic(allowance)
    lasts = None if duration is None else session_s(duration)
    hosts, address = host_rules(host or []), None if owner is None else solana_address(owner, signs=True)
    if export_to is not None:
        check_export(export_to)
    settings = Settings.load(home=home).resolve("database_url", "solana_rpc_url")

    from autopay.adapters.solana.owner.grant import GrantTerms

    needs = run_async(_needs(settings, name, money))
    payments, lasts_s = session_scope(needs.phase, tx_limit, lasts)
    if (problem := too_small_a_grant(name, needs.phase, money, amount, needs.least_atomic)) is not None:
        note(problem, "yellow")
    terms = GrantTerms(money, mint_of(settings, money), amount, payments, lasts_s, hosts)
    run_async(_grant(settings, GrantOrder(name, terms, owner_keypair, address, export_to), as_json))


async def _needs(settings: Settings, name: str, currency: Currency) -> AgentNeeds:
    from autopay.delegation.drafts import needs_of

    async with ledger_of(settings) as ledger:
        return await needs_of(ledger, name, currency)


async def _grant(settings: Settings, order: GrantOrder, as_json: bool) -> None:
    from autopay.adapters.solana.owner.grant import finish_grant, send_grant
    from autopay.delegation.drafts import grant_draft, known_session, open_session
    from autopay.delegation.submission import Granted

    async with (
        ledger_and_temporal(settings) as (ledger, _),
        owner_node(settings) as node,
        ledger.sessions.lock_agent(order.agent),
    ):
        on, vault = OwnerConnections(ledger, node, settings.slot_ms), await vault_for(ledger, settings)
        key = None if order.owner else await owner_key(settings, order.owner_keypair, [order.terms])
        owner = order.owner or _address_of(key)
        record = await open_session(on, vault, agent=order.agent, owner=owner, terms=order.terms)
        draft = await grant_draft(on, record)
        note("\n".join(draft.words))
        if key is None:
            assert order.export is not None
            line = export_for_signing(draft, order.export, settings.network, quiet=as_json)
            if as_json:
                print_json(line)
            return
        signature = await send_grant(node, ledger.sessions, record, key)
        await finish_grant(node, ledger.sessions, record)
        granted = Granted(await known_session(ledger, record.session_id), signature)
        await print_granted(settings, node, ledger, granted, as_json)


def _address_of(key: Keypair | None) -> Pubkey:
    assert key is not None, "without --owner the key is read here"
    return key.pubkey()
