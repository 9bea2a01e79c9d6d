"""Records in the ledger's audit chain who ordered by a command what changes something, as the API does."""

from __future__ import annotations

import getpass
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from autopay.cli.connect.connections import ledger_of
from autopay.cli.terminal.console import note
from autopay.domain.errors import Fault, SettingsError, UnknownAgent

if TYPE_CHECKING:
    from autopay.adapters.postgres import PostgresLedger
    from autopay.settings import Settings


def operator_name() -> str:
    """Who runs this command, as their machine calls them: whoever has the database's password can say anything."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@asynccontextmanager
async def ordered_by_command(
    ledger: PostgresLedger,
    action: str,
    *,
    agent: str | None = None,
    target: str | None = None,
    details: dict[str, Any] | None = None,
) -> AsyncIterator[None]:
    """Record that whoever runs this command orders that, then how the block ended; see `ordered`."""
    from autopay.api.access.actor import Actor, Scope, Via
    from autopay.api.access.orders import ordered

    actor = Actor(operator_name(), frozenset(Scope), Via.COMMAND)
    async with ordered(ledger, actor, action, agent=agent, target=target, details=details):
        yield


@asynccontextmanager
async def ordered_anyway(
    settings: Settings, action: str, *, agent: str, details: dict[str, Any] | None = None
) -> AsyncIterator[None]:
    """The same for what goes to the agent directly, and must work while the ledger is away: then it is done without a
    record, which is told."""
    async with AsyncExitStack() as stack:
        try:
            ledger = await stack.enter_async_context(ledger_of(settings.resolve("database_url")))
            await stack.enter_async_context(ordered_by_command(ledger, action, agent=agent, details=details))
        except UnknownAgent:
            pass  # the agent itself says that it does not run
        except (Fault, SettingsError) as error:
            note(f"the ledger has no record of this order: {error}", "yellow")
        yield
