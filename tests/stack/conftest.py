"""A stack that files share, and one in a process of its own, ended whatever happens."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from autopay.stack_file import StackFile
from localnet.stack import Stack
from tests.stack.up import Up


@pytest.fixture(scope="package")
async def common_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackFile]:
    """A stack with a worker, for tests that have agents of their own and leave everything else as they found it."""
    home = tmp_path_factory.mktemp("common") / "home"
    async with Stack(home, slot_ms=50, workers=1, ephemeral=True) as addresses:
        yield addresses


@pytest.fixture
async def up(tmp_path: Path) -> AsyncIterator[Up]:
    """A started `up`."""
    command = Up(tmp_path / "home")
    await command.start()
    yield command
    await command.end(signal.SIGINT)
