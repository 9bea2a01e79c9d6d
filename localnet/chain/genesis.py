"""What the chain holds before its first transaction: money, mints and the keys that rule them.

The keys come from fixed, public seeds. They are for tests and demonstrations only: anyone can compute them.
"""

import struct

from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

GENESIS_HASH = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"  # devnet's
DECIMALS = 6

MINT_AUTHORITY = Keypair.from_seed(b"autopay localnet mint authority!")
"""Mints USDC and CASH at will, and holds SOL for its fees. Test-only."""
FAUCET = Keypair.from_seed(b"autopay localnet airdrop faucet!")
"""Pays for requestAirdrop. Test-only."""

USDC_MINT = Pubkey.from_string("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU")
"""Devnet's USDC, SPL Token, 6 decimals."""
CASH_MINT = Keypair.from_seed(b"autopay localnet CASH mint 2022!").pubkey()
"""Stands in for Phantom CASH: Token-2022, 6 decimals, with its name in the mint itself."""

_LAMPORTS = 1_000_000_000
_RENT_PER_BYTE = 6_960  # lamports for two years
_ACCOUNT_OVERHEAD = 128  # bytes

_ACCOUNT_TYPE_MINT = 1
_EXTENSION_METADATA_POINTER = 18
_EXTENSION_TOKEN_METADATA = 19
_MINT_SIZE = 82
_TOKEN_ACCOUNT_SIZE = 165  # a mint with extensions is padded to it


def genesis_accounts() -> dict[Pubkey, Account]:
    """Every account that exists at the first slot, besides LiteSVM's own programs and sysvars."""
    wallet = Pubkey.default()
    return {
        FAUCET.pubkey(): Account(500_000_000 * _LAMPORTS, b"", wallet),
        MINT_AUTHORITY.pubkey(): Account(1_000_000 * _LAMPORTS, b"", wallet),
        USDC_MINT: _account(_mint(), TOKEN_PROGRAM_ID),
        CASH_MINT: _account(_mint_with_metadata(CASH_MINT, "CASH", "CASH"), TOKEN_2022_PROGRAM_ID),
    }


def _account(data: bytes, owner: Pubkey) -> Account:
    return Account((len(data) + _ACCOUNT_OVERHEAD) * _RENT_PER_BYTE, data, owner)


def _mint() -> bytes:
    """An SPL Token mint: optional authority, supply, decimals, initialised, no freeze authority."""
    authority = bytes(MINT_AUTHORITY.pubkey())
    data = struct.pack("<I32sQB?I32s", 1, authority, 0, DECIMALS, True, 0, bytes(32))
    assert len(data) == _MINT_SIZE
    return data


def _mint_with_metadata(address: Pubkey, name: str, symbol: str) -> bytes:
    """A Token-2022 mint whose metadata pointer leads to the metadata in the mint account itself."""
    authority = bytes(MINT_AUTHORITY.pubkey())
    texts = b"".join(struct.pack("<I", len(text)) + text.encode() for text in (name, symbol, ""))
    metadata = authority + bytes(address) + texts + struct.pack("<I", 0)
    padding = bytes(_TOKEN_ACCOUNT_SIZE - _MINT_SIZE)
    return (
        _mint()
        + padding
        + bytes([_ACCOUNT_TYPE_MINT])
        + _extension(_EXTENSION_METADATA_POINTER, authority + bytes(address))
        + _extension(_EXTENSION_TOKEN_METADATA, metadata)
    )


def _extension(kind: int, value: bytes) -> bytes:
    return struct.pack("<HH", kind, len(value)) + value
