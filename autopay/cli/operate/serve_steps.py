"""Starts the API by its order, and stops it at a signal."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from autopay.cli.connect.event_loop import STOP_SIGNALS
from autopay.cli.terminal.console import note
from autopay.cli.terminal.exit_codes import CommandError
from autopay.domain.text.command_line import command_line
from autopay.gateway.serving import url_of
from autopay.listening import listen, why_not

if TYPE_CHECKING:
    from autopay.settings import Settings

PARTS = {"jinja2", "limits", "python_multipart", "standardwebhooks"}
"""What only `autopay[api]` brings."""


@dataclass(frozen=True)
class ServeOrder:
    """Where to listen, by which other names it may be asked, and whether callers on this machine need a token."""

    host: str
    port: int
    allow_hosts: tuple[str, ...] = ()
    tokens_wanted: bool = False


async def serve_until_signal(settings: Settings, order: ServeOrder, show: Callable[[str], None]) -> None:
    """Serve until a signal; `show` gets the address once connections are taken.

    Raises:
        CommandError: it cannot listen there, or a library is missing.
    """
    try:
        from autopay.api.access.sites import AllowedHosts
        from autopay.api.app import create_app
        from autopay.api.page.frame.assets import missing_files
        from autopay.api.services import open_services
        from autopay.api.serving import ApiServer
    except ModuleNotFoundError as error:
        if error.name not in PARTS:
            raise
        raise CommandError(f"the API needs {error.name}: install it with pip install 'autopay[api]'") from None
    try:
        AllowedHosts.of(order.allow_hosts)
    except ValueError as error:
        raise CommandError(f"--allow-host: {error}") from None
    missing = missing_files()
    if missing is not None:
        note(f"the page will look plain and not be live: {missing}", "yellow")
    from autopay.cli.connect.telemetry import set_up_telemetry

    set_up_telemetry(settings, "api")
    with _listen(order) as listening:
        async with open_services(
            settings, listen=order.host, allow_hosts=order.allow_hosts, tokens_wanted=order.tokens_wanted
        ) as services:
            if services.access.tokens_required:
                note(f"callers need a token; make them with: {command_line('token', 'make', 'NAME')}")
            server = ApiServer(services.access.gate(create_app(services)), listening, services.stream.stop)
            loop = asyncio.get_running_loop()
            for number in STOP_SIGNALS:
                loop.add_signal_handler(number, server.stop)
            show(url_of(listening))
            await server.run()


def _listen(order: ServeOrder) -> socket.socket:
    try:
        return listen(order.host, order.port)
    except OSError as error:
        raise CommandError(
            f"--listen {order.host} --port {order.port}: {why_not(error)}; --port 0 is any free"
        ) from None
