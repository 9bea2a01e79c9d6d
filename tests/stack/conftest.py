"""A stack that files share."""

from collections.abc import AsyncIterator
from importlib.util import find_spec

import pytest

from autopay.settings.stack_file import StackFile
from localnet.stack import Stack

collect_ignore = [] if find_spec("agents") else ["test_openai_agents.py"]
"""The package is in `dev`; an environment from before has not got it yet."""


@pytest.fixture(scope="package")
async def common_parts(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Stack, StackFile]]:
    """The stack of `common_stack` with its parts, for tests that kill one, which comes back."""
    home = tmp_path_factory.mktemp("common") / "home"
    stack = Stack(home, slot_ms=50, workers=1, ephemeral=True)
    async with stack as addresses:
        yield stack, addresses


@pytest.fixture(scope="package")
async def common_stack(common_parts: tuple[Stack, StackFile]) -> StackFile:
    """A stack with a worker, for tests that have agents of their own and leave everything else as they found it."""
    return common_parts[1]
