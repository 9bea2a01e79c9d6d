"""`gateway`: the HTTP gateway in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import DEFAULT_AGENT, HomeOption, JsonOption, agent_name, amount_atomic
from autopay.settings import Settings

DEFAULT_LISTEN, DEFAULT_PORT = "127.0.0.1", 8405

AgentOption = Annotated[
    list[str] | None,
    typer.Option(
        help="An agent that callers may have pay, the first one when they name none; repeatable. No other one pays.",
        show_default="every agent, and 'default' when they name none, which is made on the embedded stack",
    ),
]
MaxPriceOption = Annotated[
    str | None, typer.Option(help="No call pays more than this, in token units, whatever its caller says: 0.01.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help(
        "gateway", "gateway --agent research --port 9000", "gateway --listen 0.0.0.0 --agent research --json"
    )
    app.command("gateway", epilog=shown)(gateway)


def gateway(
    listen: Annotated[str, typer.Option(help="The address to listen on.")] = DEFAULT_LISTEN,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 is any free one.")] = DEFAULT_PORT,
    agent: AgentOption = None,
    max_price: MaxPriceOption = None,
    token: Annotated[bool, typer.Option("--token", help="Want a token from callers on this machine, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Buy data for programs in any language, over HTTP.

    POST /fetch buys what its JSON says; /p/https/HOST/PATH passes any request on to a seller, and buys what it wants
    paid. Every purchase goes through an agent, within its limits.

    Whoever reaches it can spend what the agent may. On loopback that is this machine. Elsewhere callers have to show a
    token: AUTOPAY_GATEWAY_TOKEN, or one that is made and printed. It runs until Ctrl-C or SIGTERM; purchases under way
    then go on without it, and the same id finds them.
    """
    from autopay.cli.gateway.serve import GatewayOrder, serve, token_for

    order = GatewayOrder(
        agents=tuple(agent_name(each) for each in agent or ()),
        max_price_atomic=None if max_price is None else amount_atomic(max_price),
        host=listen,
        port=port,
    )
    settings = Settings.load(home=home).resolve("database_url", "keyring")
    secret, is_new = token_for(settings, order, wanted=token)

    def show(url: str) -> None:
        if as_json:
            print_json({"url": url, "agent": agent[0] if agent else DEFAULT_AGENT, "token": secret if is_new else None})
            return
        print_line(url)
        if is_new:
            print_line(f"token: {secret}")
        note("Ready. Stop with Ctrl-C.")

    run_async(serve(settings, order, secret, show))
