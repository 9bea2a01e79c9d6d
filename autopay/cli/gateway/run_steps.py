"""A process beside its gateway: its environment, its signals and its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from autopay.cli.gateway.serve import GatewayOrder, gateway_server, new_token
from autopay.cli.terminal.console import note
from autopay.settings import PREFIX, SECRET

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from autopay.settings import Settings

PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
NOT_FOUND, NOT_EXECUTABLE, BY_SIGNAL = 127, 126, 128
"""Exit codes of shells (POSIX, 2.8.2); the last plus the number of the signal."""

_PROXY_VARIABLES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


async def run_with_gateway(
    settings: Settings, order: GatewayOrder, command: Sequence[str], variables: Mapping[str, str]
) -> int:
    """Run the command beside a gateway, and return its exit code.

    Raises:
        CommandError: the gateway cannot be.
    """
    token = new_token()
    async with gateway_server(settings, order, token) as (server, url):
        serving = asyncio.create_task(server.run())
        signals = _Signals()
        try:
            environment = environment_for(os.environ, url, token, variables)
            process = await asyncio.create_subprocess_exec(*command, env=environment)
            signals.go_to(process)
            code = await process.wait()
        except OSError as error:
            note(f"error: {command[0]}: {error.strerror}", "red")
            code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        finally:
            server.stop()
            await serving
    return code if code >= 0 else BY_SIGNAL - code


def environment_for(given: Mapping[str, str], url: str, token: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The command's environment: how the gateway is asked, and none of the secrets that the gateway itself needs."""
    secret = {PREFIX + name.upper() for name in SECRET}
    found = {name: value for name, value in given.items() if name.upper() not in secret}
    found |= {"AUTOPAY_GATEWAY": url, "AUTOPAY_GATEWAY_TOKEN": token}
    found |= {name: door_url(url, token, target) for name, target in variables.items()}
    if any(found.get(name) for name in _PROXY_VARIABLES):  # a proxy cannot reach this machine's loopback
        for name in ("NO_PROXY", "no_proxy"):
            found[name] = ",".join(filter(None, (found.get(name), "127.0.0.1")))
    return found


def door_url(url: str, token: str, target: str) -> str:
    """The address of the gateway's door that stands for this one, for programs that can send no header of ours."""
    scheme, _, rest = target.partition("://")
    return f"{url}/t/{token}/p/{scheme.lower()}/{rest}"


class _Signals:
    """Gives the command the signals that come from now on; those from before its start, when it has started."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._early: list[signal.Signals] = []
        loop = asyncio.get_running_loop()
        for number in PASSED_ON:
            loop.add_signal_handler(number, self._pass_on, number)

    def go_to(self, process: Process) -> None:
        """This is the command."""
        self._process = process
        for number in self._early:
            self._pass_on(number)

    def _pass_on(self, number: signal.Signals) -> None:
        """What a terminal sends, it sends to both."""
        if self._process is None:
            self._early.append(number)
        elif number not in (signal.SIGINT, signal.SIGQUIT) or not _is_in_foreground():
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


def _is_in_foreground() -> bool:
    """Whether this is the terminal's foreground group, which gets what is typed there, whatever stdin is."""
    for descriptor in range(3):
        with suppress(OSError):
            return os.tcgetpgrp(descriptor) == os.getpgrp()
    return False
