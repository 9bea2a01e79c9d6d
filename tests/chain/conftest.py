"""One chain for the tests that leave it in order, and a chain of their own for those that do not."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from solana.rpc.async_api import AsyncClient
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from localnet.chain.genesis import CASH_MINT, USDC_MINT
from tests.chain.node import ChainNode
from tests.chain.wallet import Token, Wallets

USDC, CASH = Token(USDC_MINT, TOKEN_PROGRAM_ID), Token(CASH_MINT, TOKEN_2022_PROGRAM_ID)


@pytest.fixture(scope="session")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ChainNode]:
    """A chain that all tests share; who changes its weather clears it again."""
    node = ChainNode(tmp_path_factory.mktemp("chain"))
    await node.start()
    yield node
    await node.close()


@pytest.fixture
async def standing_node(node: ChainNode) -> AsyncIterator[ChainNode]:
    """The shared chain without time: what is processed stays so, until the test clears the weather."""
    await node.weather(stand_still=True)
    yield node
    await node.weather()


@pytest.fixture
async def own_node(tmp_path: Path) -> AsyncIterator[ChainNode]:
    """A chain for one test, with any weather and any end."""
    node = ChainNode(tmp_path)
    await node.start()
    yield node
    await node.close()


@pytest.fixture(scope="session")
def rpc(node: ChainNode) -> AsyncClient:
    return node.rpc


@pytest.fixture(scope="session")
def wallets(rpc: AsyncClient) -> Wallets:
    return Wallets(rpc)


@pytest.fixture(params=[USDC, CASH], ids=["USDC", "CASH"])
def token(request: pytest.FixtureRequest) -> Token:
    """Each token in turn."""
    token: Token = request.param
    return token
