"""One stack and one buyer for all tests of this folder; every test starts in fair weather."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.localnet.buyer import Buyer
from tests.localnet.stack import Services, Stack


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    services = Services(Path(tmp_path_factory.mktemp("stack")))
    try:
        yield services
    finally:
        codes = services.stop_all()
    assert all(code == 0 for module, code in codes if module != "localnet.chain"), codes


@pytest.fixture(scope="session")
async def running_stack(services: Services) -> Stack:
    return await services.start_all()


@pytest.fixture(scope="session")
async def buyer(running_stack: Stack) -> AsyncIterator[Buyer]:
    buyer = Buyer(running_stack.rpc_url)
    await buyer.fund()
    yield buyer
    buyer.close()


@pytest.fixture
async def stack(running_stack: Stack) -> AsyncIterator[Stack]:
    yield running_stack
    for url in running_stack.urls:
        await running_stack.weather(url)
