"""`serve`: the API and the page in the foreground."""

from __future__ import annotations

from typing import Annotated

import typer

from autopay.cli.connect.event_loop import run_async
from autopay.cli.terminal.console import note, print_json, print_line
from autopay.cli.terminal.exit_codes import examples_help
from autopay.cli.terminal.options import HomeOption, JsonOption
from autopay.settings import Settings

DEFAULT_LISTEN, DEFAULT_PORT = "127.0.0.1", 8406


def register(app: typer.Typer) -> None:
    """Add the command."""
    shown = examples_help("serve", "serve --port 9000 --json", "serve --listen 0.0.0.0")
    app.command("serve", epilog=shown)(serve)


def serve(
    listen: Annotated[str, typer.Option("--listen", "--host", help="The address to listen on.")] = DEFAULT_LISTEN,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 is any free one.")] = DEFAULT_PORT,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Another name it is asked by: a proxy's, as https://autopay.example.com; repeatable."),
    ] = None,
    token: Annotated[bool, typer.Option("--token", help="Want a token from callers on this machine, too.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the API and the page, for browsers and programs.

    They show what agents do and what it costs, live, and let a person pause, buy, approve, deny and revoke. `up` has
    them already. It runs until Ctrl-C or SIGTERM.

    On loopback, whoever is on this machine may do all of it. As soon as it listens elsewhere, or has another name,
    every caller needs a token: see `token make`.
    """
    from autopay.cli.operate.serve_steps import ServeOrder, serve_until_signal

    settings = Settings.load(home=home).resolve("database_url", "keyring").for_work()

    def show(url: str) -> None:
        if as_json:
            print_json({"page": url, "api": f"{url}/api"})
            return
        print_line(url)
        note(f"Ready: the page is {url}, the API {url}/api. Stop with Ctrl-C.")

    run_async(serve_until_signal(settings, ServeOrder(listen, port, tuple(allow_host or ()), token), show))
