"""A session is granted only in a mint that payments accept; it is looked at before anything is recorded or sent."""

from typing import Any, cast

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID

from autopay.adapters.solana.owner.grant import GrantTerms, OwnerLacks, open_grant
from autopay.adapters.solana.owner.owner_transaction import OwnerNode
from autopay.domain.money import Currency
from tests.hostile.accounts import (
    NON_TRANSFERABLE,
    PAUSABLE,
    TRANSFER_FEE,
    TRANSFER_HOOK,
    fee_config,
    mint_data,
)

HOOK = bytes(32) + bytes(Pubkey.new_unique())


class NodeWithMint:
    """A node on which every address is one mint's; it answers nothing else, so that nothing can be sent."""

    def __init__(self, program: Pubkey, data: bytes) -> None:
        self._found = (program, data, 1_000_000)

    async def raw_account(self, address: Pubkey) -> tuple[Pubkey, bytes, int]:
        """The mint's account."""
        return self._found


@pytest.mark.parametrize(
    ("program", "data", "why"),
    [
        pytest.param(TOKEN_2022_PROGRAM_ID, mint_data(extensions={TRANSFER_FEE: fee_config(0, 100)}), "fee", id="fee"),
        pytest.param(TOKEN_2022_PROGRAM_ID, mint_data(extensions={TRANSFER_HOOK: HOOK}), "hook", id="hook"),
        pytest.param(
            TOKEN_2022_PROGRAM_ID, mint_data(extensions={PAUSABLE: bytes(32) + b"\x01"}), "paused", id="paused"
        ),
        pytest.param(
            TOKEN_2022_PROGRAM_ID, mint_data(extensions={NON_TRANSFERABLE: b""}), "cannot be transferred", id="bound"
        ),
        pytest.param(TOKEN_PROGRAM_ID, mint_data(decimals=9), "has 9 decimals", id="decimals"),
        pytest.param(TOKEN_PROGRAM_ID, mint_data()[:40], "no mint of a token program", id="stump"),
        pytest.param(Pubkey.new_unique(), mint_data(), "no mint of a token program", id="another program"),
    ],
)
async def test_no_session_is_granted_in_a_mint_that_no_payment_would_use(
    program: Pubkey, data: bytes, why: str
) -> None:
    terms = GrantTerms(Currency.CASH, str(Pubkey.new_unique()), 1_000, 3, 3_600)
    node, nothing = cast("OwnerNode", NodeWithMint(program, data)), cast("Any", None)
    with pytest.raises(OwnerLacks, match=why):
        await open_grant(node, nothing, nothing, agent="buyer", owner=Keypair().pubkey(), terms=terms)
