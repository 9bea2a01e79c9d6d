"""A node of another network is refused before anything that it says is believed."""

import pytest

from autopay.adapters.solana.chain import SolanaChain
from autopay.domain.errors import WrongNetwork
from autopay.domain.network import Network
from tests.chain.node import ChainNode


async def test_a_node_with_another_genesis_hash_is_refused_whatever_it_is_asked(node: ChainNode) -> None:
    chain = SolanaChain(node.url, Network.MAINNET)
    try:
        for question in (chain.latest_blockhash, chain.finalized_tip, chain.first_available_slot):
            with pytest.raises(WrongNetwork):
                await question()
    finally:
        await chain.close()


async def test_a_node_of_the_network_is_asked(node: ChainNode) -> None:
    chain = SolanaChain(node.url, Network.DEVNET)
    try:
        assert (await chain.latest_blockhash()).slot > 0
    finally:
        await chain.close()
