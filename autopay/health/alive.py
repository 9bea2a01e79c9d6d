"""A file that is touched while a worker works and Temporal answers, for health checks that look at its age."""

import asyncio
import os
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

ALIVE_INTERVAL = timedelta(seconds=10)
"""How often the file is touched."""


async def report_alive(client: Client, alive: Path) -> None:
    """Touch the file again and again for as long as the event loop runs and Temporal answers."""
    while True:
        with suppress(RPCError):
            await client.service_client.check_health(timeout=ALIVE_INTERVAL)
            await asyncio.to_thread(alive.touch)
        await asyncio.sleep(ALIVE_INTERVAL.total_seconds())


def can_be_touched(file: Path) -> bool:
    """Whether it can be made or touched; it is not touched yet, as nothing works yet."""
    try:
        return file.is_file() or (not file.exists() and os.access(file.parent, os.W_OK | os.X_OK))
    except OSError:  # a name that is too long
        return False
