"""`rules`, `phase`, `watch` and `unwatch`: what a running agent may do and keeps fresh, changed while it runs."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from autopay.cli.agent.pause_resume_stop import Name, calls_of, not_running
from autopay.cli.connect.agent_handle import AgentHandle, AgentNotRunning
from autopay.cli.connect.console import note, print_json, print_table
from autopay.cli.connect.exit_codes import examples_help
from autopay.cli.connect.invocation import HomeOption, JsonOption, run_async
from autopay.cli.connect.options import phase_of, watch_of, whole_seconds
from autopay.domain.agent.spec import Rules
from autopay.domain.money import Currency, show, to_atomic
from autopay.settings import Settings

T = TypeVar("T")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("phase", epilog=examples_help("phase trader full", "phase trader interactive"))(phase)
    app.command(
        "watch",
        epilog=examples_help(
            'watch trader "http://127.0.0.1:8403/api/market-feed every=30s max-price=0.01"',
            'watch trader "https://api.example.com/fees every=5m currency=CASH weight=2 name=fees"',
        ),
    )(watch)
    app.command("unwatch", epilog=examples_help("unwatch trader fees"))(unwatch)
    app.command(
        "rules",
        epilog=examples_help(
            "rules trader --show",
            "rules trader --threshold usdc=0.05 --threshold cash=0",
            "rules trader --max-in-flight 4 --buy-what-fits",
        ),
    )(rules)


def phase(
    name: Name,
    to: Annotated[str, typer.Argument(metavar="PHASE", help="demo, interactive or full.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Change how much an agent may do without a person.

    demo ends after a few payments, counted from here. interactive asks a person about what its policy does not let it
    pay by itself. full goes on by itself. Payments that are signed already are not touched.
    """
    wanted = phase_of(to)
    run_async(_with_agent(home, name, lambda calls: calls.update("phase", wanted)))
    note(f"agent {name} is in phase {wanted.value} from now on", "green")


def watch(
    name: Name,
    what: Annotated[
        str,
        typer.Argument(
            metavar="WATCH", help='"URL every=30s max-price=0.01 currency=CASH weight=2 name=x".', show_default=False
        ),
    ],
    home: HomeOption = None,
) -> None:
    """Let an agent keep data fresh from now on.

    A watch of the same name is replaced. Without name=… the name comes from the URL.
    """
    wanted = watch_of(what)
    run_async(_with_agent(home, name, lambda calls: calls.update("watch", wanted)))
    note(f"agent {name} keeps {wanted.url} fresh, every {wanted.every_s} s", "green")
    note(f"to end that: starter.py unwatch {name} {wanted.name}")


def unwatch(
    name: Name,
    which: Annotated[str, typer.Argument(metavar="WATCH", help="The watch's name; see `status`.", show_default=False)],
    home: HomeOption = None,
) -> None:
    """Let an agent keep data fresh no more.

    What it has queued for the watch is still bought; see `queue` and `cancel`.
    """
    run_async(_with_agent(home, name, lambda calls: calls.update("unwatch", which)))
    note(f"agent {name} watches {which} no more", "green")


def rules(
    name: Name,
    show_only: Annotated[bool, typer.Option("--show", help="Change nothing, show them.")] = False,
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="usdc=0.05: with less spendable that currency counts as used up; repeatable."),
    ] = None,
    buy_what_fits: Annotated[
        bool | None,
        typer.Option("--buy-what-fits/--no-buy-what-fits", help="Buy whatever fits, however little is left."),
    ] = None,
    max_in_flight: Annotated[int | None, typer.Option(help="Requests at once.")] = None,
    queue_limit: Annotated[int | None, typer.Option(help="Requests that may wait.")] = None,
    demo_payments: Annotated[int | None, typer.Option(help="Payments after which phase demo ends.")] = None,
    balance_every: Annotated[str | None, typer.Option(help="How often balances are read: 30s.")] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or change an agent's own limits; what is not named stays.

    They are beside its policy and its sessions, which hold in any case. When every currency is used up the agent
    pauses until there is money again.
    """
    wanted: dict[str, Any] = {
        "buy_what_fits": buy_what_fits,
        "max_in_flight": max_in_flight,
        "queue_limit": queue_limit,
        "demo_payments": demo_payments,
        "balance_every_s": None if balance_every is None else whole_seconds(balance_every),
    }
    changes = {field: value for field, value in wanted.items() if value is not None}
    thresholds = thresholds_of(threshold or [])
    if show_only and (changes or thresholds):
        raise typer.BadParameter("changes nothing: leave it out, or the others", param_hint="--show")

    async def change(calls: AgentHandle) -> Rules:
        before = (await calls.status()).rules
        if not changes and not thresholds:
            return before
        after = changed_rules(before, changes, thresholds)
        await calls.update("rules", after)
        return after

    found = run_async(_with_agent(home, name, change))
    if as_json:
        print_json(found)
    else:
        print_table(("rule", "value"), rules_rows(found))
    if changes or thresholds:
        note(f"agent {name} follows these rules from now on", "green")


def thresholds_of(texts: list[str]) -> dict[Currency, int]:
    """Base units of texts like `usdc=0.05`; 0 is possible."""
    found: dict[Currency, int] = {}
    for text in texts:
        currency, _, amount = text.partition("=")
        try:
            found[Currency(currency.strip().upper())] = to_atomic(amount.strip())
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not a threshold like usdc=0.05 or cash=0") from None
    return found


def changed_rules(before: Rules, changes: dict[str, Any], thresholds: dict[Currency, int]) -> Rules:
    """The rules with these changes.

    Raises:
        BadParameter: a value that cannot be; the message names the option.
    """
    values = before.model_dump() | changes | {"thresholds": before.thresholds | thresholds}
    try:
        return Rules.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_s", "") if first["loc"] == ("balance_every_s",) else first["loc"][0]
        message = f"{first['input']}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        raise typer.BadParameter(message, param_hint=f"--{str(option).replace('_', '-')}") from None


def rules_rows(found: Rules) -> list[tuple[str, str]]:
    """Each rule and its value, as `rules` names them."""
    thresholds = [show(amount, currency) for currency, amount in sorted(found.thresholds.items())]
    return [
        ("threshold", ", ".join(thresholds) or "none"),
        ("buy-what-fits", "yes: whatever fits is bought" if found.buy_what_fits else "no: what ranks first goes first"),
        ("max-in-flight", str(found.max_in_flight)),
        ("queue-limit", str(found.queue_limit)),
        ("demo-payments", str(found.demo_payments)),
        ("balance-every", f"{found.balance_every_s} s"),
    ]


async def _with_agent(home: Any, name: str, do: Callable[[AgentHandle], Awaitable[T]]) -> T:
    calls = await calls_of(Settings.load(home=home), name)
    try:
        return await do(calls)
    except AgentNotRunning:
        raise not_running(name) from None
