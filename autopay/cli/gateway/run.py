"""`run`: another command with a gateway of its own."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.gateway.gateway import AgentOption, MaxPriceOption
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, WrongValue, agent_name, amount_atomic, http_url, shown
from autopay.settings import Settings

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.+)", re.DOTALL)


def register(app: typer.Typer) -> None:
    """Add the command."""
    epilog = examples_help(
        "run -- python buys.py",
        "run --base-url OPENAI_BASE_URL=https://api.example.com/v1 -- node agent.js",
        "run --agent research --max-price 0.01 -- sh -c 'curl -H \"Autopay-Token: $AUTOPAY_GATEWAY_TOKEN\" ...'",
    )
    context = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("run", epilog=epilog, context_settings=context)(run)


def run(
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND [ARGUMENTS]...", help="What to run.")],
    base_url: Annotated[
        list[str] | None,
        typer.Option(
            "--base-url",
            metavar="NAME=URL",
            help="Set this variable to an address of the gateway that stands for the URL; repeatable.",
        ),
    ] = None,
    agent: AgentOption = None,
    max_price: MaxPriceOption = None,
    home: HomeOption = None,
) -> None:
    """Run a command that can buy data by a gateway of its own.

    The command finds the gateway in AUTOPAY_GATEWAY, and what to show it in AUTOPAY_GATEWAY_TOKEN; with --base-url also
    in variables of its own, for programs that only know a base URL. It does not get the settings that are secrets. The
    gateway ends with the command, whose signals and exit code are passed on; 127 says that there is no such command.
    """
    from autopay.cli.gateway.run_steps import run_with_gateway
    from autopay.cli.gateway.serve import GatewayOrder

    order = GatewayOrder(
        agents=tuple(agent_name(each) for each in agent or ()),
        max_price_atomic=None if max_price is None else amount_atomic(max_price),
        host="127.0.0.1",
        port=0,
    )
    variables = dict(_variable(text) for text in base_url or [])
    settings = Settings.load(home=home).resolve("database_url", "keyring")
    raise typer.Exit(run_async(run_with_gateway(settings, order, command, variables)))


def _variable(text: str) -> tuple[str, str]:
    found = _VARIABLE.fullmatch(text)
    if found is None:
        raise WrongValue(text, f"{shown(text)} is not NAME=URL, like OPENAI_BASE_URL=https://api.example.com/v1")
    return found[1], http_url(found[2])
