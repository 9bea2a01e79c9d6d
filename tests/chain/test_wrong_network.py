"""A node of another network is refused before anything that it says is believed."""

import pytest

from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.errors import WrongNetwork
from autopay.domain.network import Network
from tests.chain.node import ChainNode


async def test_a_node_with_another_genesis_hash_is_refused_whatever_it_is_asked(node: ChainNode) -> None:
    async with NodeRpc(node.url, Network.MAINNET) as rpc:
        chain = SolanaChain(rpc)
        for question in (chain.latest_blockhash, chain.finalized_tip, chain.first_available_slot):
            with pytest.raises(WrongNetwork):
                await question()


async def test_a_node_of_the_network_is_asked(node: ChainNode) -> None:
    async with NodeRpc(node.url, Network.DEVNET) as rpc:
        assert (await SolanaChain(rpc).latest_blockhash()).slot > 0
