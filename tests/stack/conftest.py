"""A stack that files share."""

from collections.abc import AsyncIterator

import pytest

from autopay.stack_file import StackFile
from localnet.stack import Stack


@pytest.fixture(scope="package")
async def common_stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StackFile]:
    """A stack with a worker, for tests that have agents of their own and leave everything else as they found it."""
    home = tmp_path_factory.mktemp("common") / "home"
    async with Stack(home, slot_ms=50, workers=1, ephemeral=True) as addresses:
        yield addresses
