"""`webhook add`, `test`, `rotate`, `enable` and `remove`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from autopay.cli.connect.connections import ledger_of, temporal_of
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ordering import ordered_by_command
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import CommandError, ExitCode, examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption, WrongValue, http_url, whole_seconds
from autopay.cli.webhook.look import IdArgument, endpoint_json, find_endpoint
from autopay.delegation.connections import vault_for
from autopay.domain.text.command_line import command_line
from autopay.domain.webhooks.events import TEST, check_patterns, webhook_id
from autopay.domain.webhooks.message import trial_body
from autopay.domain.webhooks.records import Attempt, Message
from autopay.settings import Settings
from autopay.uuid7 import uuid7

if TYPE_CHECKING:
    from uuid import UUID

    from autopay.adapters.postgres import PostgresLedger
    from autopay.domain.webhooks.records import WebhookEndpoint

DEFAULT_EVENTS = "*"
OLD_KEPT = "24h"
MOST_KEPT_S = 30 * 86_400


def register(webhook: typer.Typer) -> None:
    """Add the commands to the group `webhook`."""
    added = examples_help(
        "webhook add https://ops.example.com/autopay",
        "webhook add https://ops.example.com/autopay --event approval.needed --event payment.undelivered",
    )
    webhook.command("add", epilog=added)(add)
    webhook.command("test", epilog=examples_help("webhook test 019a"))(send_test)
    webhook.command("rotate", epilog=examples_help("webhook rotate 019a", "webhook rotate 019a --keep 7d"))(rotate)
    webhook.command("enable", epilog=examples_help("webhook enable 019a"))(enable)
    webhook.command("remove", epilog=examples_help("webhook remove 019a"))(remove)


def add(
    url: Annotated[str, typer.Argument(help="Where events are sent to: https, or loopback.")],
    event: Annotated[
        list[str] | None,
        typer.Option(help="An event, payment.*, ledger.*, or * for all plain ones; repeatable. See `webhook events`."),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send events to a URL from now on, and print a secret.

    Each is a POST in the form of Standard Webhooks: JSON, signed with that secret, which is shown only now. An answer
    2xx is the receipt; everything else is tried again for a day. Workers send them.
    """
    try:
        patterns = check_patterns(event or [DEFAULT_EVENTS])
    except ValueError as error:
        raise CommandError(f"--event: {error}") from None
    settings = Settings.load(home=home).resolve("database_url", "keyring")
    endpoint, secret = run_async(_add(settings, _sendable(settings, http_url(url)), patterns))
    if as_json:
        print_json({**endpoint_json(endpoint), "secret": secret})
        return
    print_line(secret)
    note(f"{', '.join(endpoint.events)} to {endpoint.url} as endpoint {endpoint.endpoint_id}", "green")
    note(f"try it: {command_line('webhook', 'test', endpoint.endpoint_id)}")


async def _add(settings: Settings, url: str, patterns: tuple[str, ...]) -> tuple[WebhookEndpoint, str]:
    from autopay.adapters.webhooks.sender import SECRET_PURPOSE, new_secret

    async with ledger_of(settings) as ledger:
        vault, endpoint_id, secret = await vault_for(ledger, settings), uuid7(), new_secret()
        sealed = vault.seal(secret.encode(), purpose=SECRET_PURPOSE, row=str(endpoint_id))
        details = {"url": url, "events": list(patterns)}
        async with ordered_by_command(ledger, "webhook add", target=str(endpoint_id), details=details):
            endpoint = await ledger.webhooks.add(endpoint_id, url, patterns, sealed)
        await _begin(settings, ledger, endpoint_id)
        return endpoint, secret


async def _begin(settings: Settings, ledger: PostgresLedger, endpoint_id: UUID) -> None:
    """Start the endpoint's workflow; without Temporal, the next worker that starts does it."""
    from temporalio.service import RPCError

    from autopay.domain.errors import TransientFault
    from autopay.temporal.webhooks import start_webhooks

    try:
        await start_webhooks(await temporal_of(settings, ledger), settings.task_queue, [endpoint_id])
    except (RPCError, TransientFault):
        note("Temporal does not answer: events are sent once a worker has started", "yellow")


def send_test(endpoint: IdArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Send a test event to an endpoint, and say what it answers.

    Its name is webhook.test. It is sent by this command, not by a worker, and also to a disabled endpoint.
    """
    settings = Settings.load(home=home).resolve("database_url", "keyring")
    attempt = run_async(_test(settings, endpoint))
    if as_json:
        print_json(attempt)
    elif attempt.error is None:
        note(f"it works: HTTP {attempt.http_status}", "green")
    if attempt.error is not None:
        raise CommandError(f"it does not take events: {attempt.error}", ExitCode.FAULT)


async def _test(settings: Settings, text: str) -> Attempt:
    from autopay.adapters.webhooks.sender import SECRET_PURPOSE, WebhookSender, webhook_reach

    async with ledger_of(settings) as ledger:
        known = await find_endpoint(ledger, text)
        vault, signing = await vault_for(ledger, settings), await ledger.webhooks.signing(known.endpoint_id)
        if signing is None:
            raise CommandError("this endpoint was removed meanwhile")
        row = str(known.endpoint_id)
        secrets = [vault.open(each, purpose=SECRET_PURPOSE, row=row).decode() for each in signing.sealed_secrets]
    message = Message(webhook_id=webhook_id(uuid7()), type=TEST, body=trial_body(TEST, datetime.now(UTC)))
    sender = WebhookSender(webhook_reach(settings.allowed_private_hosts))
    try:
        return await sender.send(known.url, message, secrets)
    finally:
        await sender.close()


def rotate(
    endpoint: IdArgument,
    keep: Annotated[str, typer.Option(help="How long the secret of before signs as well: 1h, 7d.")] = OLD_KEPT,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a new secret for an endpoint, and print it.

    Until the one of before ends, each event has two signatures: give the receiver the new secret meanwhile.
    """
    keep_s = whole_seconds(keep)
    if keep_s > MOST_KEPT_S:
        raise WrongValue(keep, f"an old secret signs for at most {MOST_KEPT_S // 86_400}d")
    settings = Settings.load(home=home).resolve("database_url", "keyring")
    secret, until = run_async(_rotate(settings, endpoint, keep_s))
    if as_json:
        print_json({"secret": secret, "old_until": until.isoformat()})
        return
    print_line(secret)
    note(f"the secret of before signs until {until:%F %T} UTC, too", "green")


async def _rotate(settings: Settings, text: str, keep_s: int) -> tuple[str, datetime]:
    from autopay.adapters.webhooks.sender import SECRET_PURPOSE, new_secret

    async with ledger_of(settings) as ledger:
        endpoint_id, vault = (await find_endpoint(ledger, text)).endpoint_id, await vault_for(ledger, settings)
        secret = new_secret()
        sealed = vault.seal(secret.encode(), purpose=SECRET_PURPOSE, row=str(endpoint_id))
        async with ordered_by_command(ledger, "webhook rotate", target=str(endpoint_id)):
            until = await ledger.webhooks.rotate(endpoint_id, sealed, keep_s)
        if until is None:
            raise CommandError("this endpoint was removed meanwhile")
        return secret, until


def enable(endpoint: IdArgument, home: HomeOption = None) -> None:
    """Send to a disabled endpoint again, and what it missed."""
    if run_async(_enable(Settings.load(home=home).resolve("database_url", "keyring"), endpoint)):
        note("it is enabled, and gets what it missed", "green")
    else:
        note("it is not disabled")


async def _enable(settings: Settings, text: str) -> bool:
    async with ledger_of(settings) as ledger:
        endpoint_id = (await find_endpoint(ledger, text)).endpoint_id
        async with ordered_by_command(ledger, "webhook enable", target=str(endpoint_id)):
            enabled = await ledger.webhooks.enable(endpoint_id)
        await _begin(settings, ledger, endpoint_id)
        return enabled


def remove(endpoint: IdArgument, home: HomeOption = None) -> None:
    """Send nothing to an endpoint any more, and destroy its secrets."""
    known = run_async(_remove(Settings.load(home=home).resolve("database_url"), endpoint))
    note(f"nothing is sent to {known.url} any more", "green")


async def _remove(settings: Settings, text: str) -> WebhookEndpoint:
    async with ledger_of(settings) as ledger:
        known = await find_endpoint(ledger, text)
        async with ordered_by_command(ledger, "webhook remove", target=str(known.endpoint_id)):
            await ledger.webhooks.remove(known.endpoint_id)
        return known


def _sendable(settings: Settings, url: str) -> str:
    """The URL, when events may be sent there."""
    try:
        from autopay.adapters.webhooks.sender import require_sendable, webhook_reach
    except ModuleNotFoundError as error:
        if error.name != "standardwebhooks":
            raise
        raise CommandError("webhooks need standardwebhooks: install it with pip install 'autopay[api]'") from None
    from autopay.adapters.x402.checked_connection import NotAllowed

    try:
        require_sendable(url, webhook_reach(settings.allowed_private_hosts))
    except NotAllowed as error:
        raise CommandError(f"{error}", ExitCode.USAGE) from None
    return url
