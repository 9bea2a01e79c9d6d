"""`watch` and `unwatch`: data that a running agent keeps fresh; and how a watch is written on a command line."""

import re
import shlex
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError

from autopay.cli.connect.connections import update_agent
from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import (
    AgentArgument,
    HomeOption,
    amount_atomic,
    currency_of,
    http_url,
    method_of,
    whole_seconds,
)
from autopay.domain.agent.spec import MAX_WATCHES, Watch
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import span
from autopay.domain.values import validation_message
from autopay.settings import Settings

WATCH_EXAMPLE = '"URL every=30s max-price=0.01 currency=CASH weight=2 name=x"'

_NAME = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}"  # its request ids are the name and a time
_KEYS = ("every", "max-price", "method", "currency", "weight", "name")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        "watch",
        epilog=examples_help(
            'watch trader "http://127.0.0.1:8403/api/market-feed every=30s max-price=0.01"',
            'watch trader "https://api.example.com/fees every=5m currency=CASH weight=2 name=fees"',
        ),
    )(watch)
    app.command("unwatch", epilog=examples_help("unwatch trader fees"))(unwatch)


def watch(
    name: AgentArgument,
    what: Annotated[str, typer.Argument(metavar="WATCH", help=f"{WATCH_EXAMPLE}.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Let an agent keep data fresh: buy it again and again.

    A watch of the same name is replaced. Without name=… the name comes from the URL.
    """
    wanted = watch_of(what)
    run_async(update_agent(Settings.load(home=home), name, "watch", wanted))
    note(f"agent {name} keeps {wanted.url} fresh, every {span(wanted.every_s)}", "green")
    note(f"to end that: {command_line('unwatch', name, wanted.name)}")


def unwatch(
    name: AgentArgument,
    which: Annotated[str, typer.Argument(metavar="WATCH", help="The watch's name; see `status`.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Let an agent keep data fresh no longer.

    What it has queued for the watch is still bought; see `queue` and `cancel`.
    """
    run_async(update_agent(Settings.load(home=home), name, "unwatch", which))
    note(f"agent {name} no longer watches {which}", "green")


def watch_of(text: str) -> Watch:
    """A watch given as `URL every=30s [max-price=0.01] [method=GET] [currency=USDC] [weight=2] [name=prices]`.

    Raises:
        typer.BadParameter: with what would be valid.
    """
    try:
        url, *words = shlex.split(text) or [""]
    except ValueError:
        raise typer.BadParameter(f"the watch {text!r} has a quote that does not end") from None
    fields: dict[str, Any] = {"url": http_url(url)}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in _KEYS or not equals or not value:
            raise typer.BadParameter(f"{word!r} in a watch is not one of {', '.join(f'{k}=…' for k in _KEYS)}")
        fields |= _field(key, value)
    if "every_s" not in fields:
        raise typer.BadParameter(f"the watch of {url} has no every=…, like every=30s")
    fields.setdefault("name", _name_of(url))
    if not re.fullmatch(_NAME, fields["name"]):
        raise typer.BadParameter(f"{fields['name']!r} is not a watch's name: up to 100 letters, digits and '._:@-'")
    try:
        return Watch(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"the watch of {url}: {first['loc'][0]}: {validation_message(first)}") from None


def watches_of(texts: list[str]) -> tuple[Watch, ...]:
    """Several watches; two may not have the same name."""
    watches = tuple(watch_of(text) for text in texts)
    if len(watches) > MAX_WATCHES:
        raise typer.BadParameter(f"{len(watches)} watches are more than the {MAX_WATCHES} that an agent can have")
    names = [watch.name for watch in watches]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise typer.BadParameter(f"two watches are called {twice!r}: give one a name=…")
    return watches


def _field(key: str, value: str) -> dict[str, Any]:
    match key:
        case "every":
            return {"every_s": whole_seconds(value)}
        case "max-price":
            return {"max_price_atomic": amount_atomic(value)}
        case "method":
            return {"method": method_of(value)}
        case "currency":
            return {"currency": currency_of(value)}
        case "weight":
            return {"weight": value}
        case _:
            return {"name": value}


def _name_of(url: str) -> str:
    """A watch's name from its path and query, fit for a request id: `api-market-feed`."""
    parts = urlsplit(url)
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{parts.path}-{parts.query}").strip("-")
    return (words or re.sub(r"[^A-Za-z0-9]+", "-", parts.netloc).strip("-"))[:80]
