"""A stack in a process of its own, ended whatever happens."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.stack.up import Up


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """A started `up`."""
    command = Up(tmp_path / "home")
    await command.start()
    yield command
    await command.end(signal.SIGINT)
