"""`rules` and `phase`: an agent's own limits, and how much it may do without a person, changed while it runs."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from autopay.cli.connect.connections import agent_handle, update_agent
from autopay.cli.connect.event_loop import run_async
from autopay.cli.connect.ordering import ordered_anyway
from autopay.cli.terminal.console import note, print_json
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import (
    AgentArgument,
    HomeOption,
    JsonOption,
    agent_name,
    complete_phase,
    phase_of,
    whole_seconds,
)
from autopay.cli.terminal.tables import print_table
from autopay.domain.agent.spec import Rules
from autopay.domain.money import Currency, parse_currency, show, to_atomic
from autopay.domain.phase import Phase
from autopay.domain.text.times import span
from autopay.domain.values import validation_message
from autopay.settings import Settings

RULE_FIELDS = {
    "thresholds": "thresholds",
    "buy-what-fits": "buy_what_fits",
    "max-in-flight": "max_in_flight",
    "queue-limit": "queue_limit",
    "demo-payments": "demo_payments",
    "balance-every": "balance_every_s",
}
"""Each rule as people write it, and its field in `Rules`."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("phase", epilog=examples_help("phase trader full", "phase trader interactive"))(phase)
    app.command(
        "rules",
        epilog=examples_help(
            "rules trader --show",
            "rules trader --threshold usdc=0.05 --threshold cash=0",
            "rules trader --max-in-flight 4 --buy-what-fits",
        ),
    )(rules)


def phase(
    name: AgentArgument,
    to: Annotated[
        str,
        typer.Argument(
            autocompletion=complete_phase, metavar="PHASE", help="demo, interactive or full.", show_default=False
        ),
    ],
    home: HomeOption = None,
) -> None:
    """Change how much an agent may do without a person.

    demo ends after a few payments, counted from here. interactive asks a person about what its policy does not let it
    pay by itself. full goes on by itself. Payments that are signed already are not touched; what waits for a person in
    phase interactive is judged again, without one.
    """
    wanted = phase_of(to)
    withdrawn = run_async(_phase(Settings.load(home=home), agent_name(name), wanted)) or []
    note(f"agent {name} is in phase {wanted.value} from now on", "green")
    if withdrawn:
        note(f"no person is asked any more about {', '.join(withdrawn)}: judged again by the policy")


async def _phase(settings: Settings, name: str, wanted: Phase) -> Any:
    async with ordered_anyway(settings, "phase", agent=name, details={"phase": wanted.value}):
        return await update_agent(settings, name, "phase", wanted)


def rules(
    name: AgentArgument,
    show_only: Annotated[bool, typer.Option("--show", help="Only show the rules; change nothing.")] = False,
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="usdc=0.05: with less spendable, that currency counts as used up; repeatable."),
    ] = None,
    buy_what_fits: Annotated[
        bool | None,
        typer.Option("--buy-what-fits/--no-buy-what-fits", help="Buy whatever fits, however little is left."),
    ] = None,
    max_in_flight: Annotated[int | None, typer.Option(help="How many requests may run at once.")] = None,
    queue_limit: Annotated[int | None, typer.Option(help="How many requests may wait.")] = None,
    demo_payments: Annotated[int | None, typer.Option(help="Payments after which phase demo ends.")] = None,
    balance_every: Annotated[
        str | None,
        typer.Option(
            help="How often balances are read, 30s; less and less often, up to 30m, while they stay the same and "
            "nothing waits for money."
        ),
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or change an agent's own limits.

    A rule that you do not name keeps its value. The agent's policy and sessions hold as well. When every currency is
    used up the agent pauses until there is money again.
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
        raise typer.BadParameter("changes nothing: leave out --show, or the other options", param_hint="--show")
    found = run_async(_rules(Settings.load(home=home), name, changes, thresholds))
    if as_json:
        print_json(found)
    else:
        print_table(("rule", "value"), rules_rows(found))
    if changes or thresholds:
        note(f"agent {name} follows these rules from now on", "green")


async def _rules(settings: Settings, name: str, changes: dict[str, Any], thresholds: dict[Currency, int]) -> Rules:
    agent = await agent_handle(settings, name)
    before = (await agent.status()).rules
    if not changes and not thresholds:
        return before
    after = changed_rules(before, changes, thresholds)
    async with ordered_anyway(settings, "rules", agent=agent.name, details=after.model_dump(mode="json")):
        await agent.update("rules", after)
    return after


def thresholds_of(texts: list[str]) -> dict[Currency, int]:
    """Base units of texts like `usdc=0.05`; 0 is possible."""
    found: dict[Currency, int] = {}
    for text in texts:
        currency, _, amount = text.partition("=")
        try:
            found[parse_currency(currency)] = to_atomic(amount.strip())
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
        option = next(name for name, field in RULE_FIELDS.items() if field == first["loc"][0])
        message = f"{first['input']}: {validation_message(first)}"
        raise typer.BadParameter(message, param_hint=f"--{option}") from None


def rules_rows(found: Rules) -> list[tuple[str, str]]:
    """Each rule and its value, for people."""
    thresholds = [show(amount, currency) for currency, amount in sorted(found.thresholds.items())]
    return [
        ("threshold", ", ".join(thresholds) or "none"),
        ("buy-what-fits", "yes: whatever fits is bought" if found.buy_what_fits else "no: what ranks first goes first"),
        ("max-in-flight", str(found.max_in_flight)),
        ("queue-limit", str(found.queue_limit)),
        ("demo-payments", str(found.demo_payments)),
        ("balance-every", span(found.balance_every_s)),
    ]
