"""The Solana networks we know: their names on the wire and what proves that a node belongs to one."""

from enum import StrEnum
from typing import NamedTuple


class Network(StrEnum):
    """A Solana cluster, by the name the ledger uses."""

    DEVNET = "DEVNET"
    MAINNET = "MAINNET"


class _Facts(NamedTuple):
    genesis_hash: str
    v1_name: str
    usdc_mint: str
    cash_mint: str | None


_FACTS = {
    # Genesis hashes: docs.solana.com, clusters; USDC mints: Circle; CASH mainnet mint: Phantom.
    Network.DEVNET: _Facts(
        "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG",
        "solana-devnet",
        "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
        None,
    ),
    Network.MAINNET: _Facts(
        "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d",
        "solana",
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
        "CASHx9KJUStyftLFWGvEVf59SGeG9sh5FfcnZMVPCASH",
    ),
}


def genesis_hash(network: Network) -> str:
    """The hash of the network's first block: what an RPC node must answer to getGenesisHash."""
    return _FACTS[network].genesis_hash


def caip2(network: Network) -> str:
    """The v2 wire name: `solana:` and the first 32 characters of the genesis hash (CAIP-2, Solana profile)."""
    return f"solana:{genesis_hash(network)[:32]}"


def wallet_name(network: Network) -> str:
    """The network's name among wallets (Wallet Standard, chains of Solana); the embedded chain stands in for devnet."""
    return f"solana:{network.value.lower()}"


def wire_name(network: Network, version: int) -> str:
    """The network's name in an x402 message of that protocol version."""
    return caip2(network) if version == 2 else _FACTS[network].v1_name


def usdc_mint(network: Network) -> str:
    """Circle's USDC mint on the network."""
    return _FACTS[network].usdc_mint


def cash_mint(network: Network) -> str | None:
    """Phantom's CASH mint on the network, where it is public; on devnet Phantom gives it out on request."""
    return _FACTS[network].cash_mint
