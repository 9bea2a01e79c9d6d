"""`webhook list`, `webhook deliveries` and `webhook events`: what is sent where, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autopay.cli.connect.connections import ledger_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import CommandError, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, shown
from autopay.cli.terminal.tables import print_table
from autopay.domain.text.command_line import command_line
from autopay.domain.webhooks.events import PLAIN
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.domain.webhooks.records import WebhookDelivery, WebhookEndpoint

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The endpoint's id, or how it begins: see `webhook list`.")
]
_PREFIX = re.compile(r"[0-9a-f]{4,32}")


def register(webhook: typer.Typer) -> None:
    """Add the commands to the group `webhook`."""
    webhook.command("list", epilog=examples_help("webhook list", "webhook list --json"))(list_webhooks)
    webhook.command("deliveries", epilog=examples_help("webhook deliveries 019a"))(deliveries)
    webhook.command("events", epilog=examples_help("webhook events"))(events)


def list_webhooks(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List where events are sent to, and whether they arrive."""
    found = run_async(_list(Settings.load(home=home).resolve("database_url")))
    if as_json:
        print_json([endpoint_json(endpoint) for endpoint in found])
    elif not found:
        note(f"no events are sent anywhere; to change that: {command_line('webhook', 'add', 'URL')}")
    else:
        print_table(
            ("id", "state", "retrying", "events", "url", "why"),
            (
                (
                    endpoint.endpoint_id,
                    endpoint.state,
                    endpoint.retrying,
                    ", ".join(endpoint.events),
                    endpoint.url,
                    endpoint.disabled_why or "",
                )
                for endpoint in found
            ),
        )


async def _list(settings: Settings) -> Sequence[WebhookEndpoint]:
    async with ledger_of(settings) as ledger:
        return await ledger.webhooks.list()


def deliveries(
    endpoint: IdArgument,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the last events for an endpoint, and what became of each.

    What was delivered, or given up, is kept for 30 days.
    """
    found = run_async(_deliveries(Settings.load(home=home).resolve("database_url"), endpoint, limit))
    if as_json:
        print_json([each.model_dump(mode="json") for each in found])
    elif not found:
        note("nothing was sent to it yet")
    else:
        print_table(
            ("at (UTC)", "event", "status", "tries", "answer", "next (UTC)", "webhook-id"),
            (
                (
                    f"{each.created_at:%F %T}",
                    each.type,
                    each.status.lower(),
                    each.attempts,
                    each.error or f"HTTP {each.http_status}",
                    "" if each.next_at is None else f"{each.next_at:%F %T}",
                    each.webhook_id,
                )
                for each in found
            ),
        )


async def _deliveries(settings: Settings, text: str, limit: int) -> Sequence[WebhookDelivery]:
    async with ledger_of(settings) as ledger:
        return await ledger.webhooks.deliveries((await find_endpoint(ledger, text)).endpoint_id, limit)


def events(as_json: JsonOption = False) -> None:
    """List the events that can be sent, and when each is.

    Beside these, each change of the ledger is an event: `ledger.` with its table and what happened, like
    ledger.transactions.changed, or ledger.* for all.
    """
    if as_json:
        print_json([{"event": name, "when": when} for name, when in PLAIN.items()])
        return
    print_table(("event", "when"), PLAIN.items())


async def find_endpoint(ledger: PostgresLedger, text: str) -> WebhookEndpoint:
    """The endpoint whose id begins with that text."""
    wanted, see = text.lower().replace("-", ""), command_line("webhook", "list")
    if not _PREFIX.fullmatch(wanted):
        raise CommandError(f"{shown(text)} is not an endpoint's id, or at least its first 4 characters; see: {see}")
    found = [each for each in await ledger.webhooks.list() if each.endpoint_id.hex.startswith(wanted)]
    if len(found) != 1:
        raise CommandError(f"{'no endpoint' if not found else 'more than one endpoint'} is {shown(text)}; see: {see}")
    return found[0]


def endpoint_json(endpoint: WebhookEndpoint) -> dict[str, Any]:
    """An endpoint as --json tells it."""
    return endpoint.model_dump(mode="json") | {"state": endpoint.state}
