"""Mints that would take more than the amount, run somebody's program, or cannot be paid in: the buyer's CASH."""

from spl.token.constants import TOKEN_PROGRAM_ID

from autopay.domain.refusal import RefusalReason
from tests.hostile.accounts import (
    NON_TRANSFERABLE,
    PAUSABLE,
    TRANSFER_FEE,
    TRANSFER_HOOK,
    Mint,
    fee_config,
    mint_data,
)
from tests.hostile.asking import asks
from tests.hostile.scene import PRICE, key
from tests.hostile.way import DELIVERED, UNSETTLED, Way, refused

HOOK = bytes(32) + bytes(key("hook").pubkey())

_UNUSABLE = {
    "takes a fee": mint_data(extensions={TRANSFER_FEE: fee_config(100, 100)}),
    "takes a fee from the next epoch on": mint_data(extensions={TRANSFER_FEE: fee_config(0, 100)}),
    "took a fee until now": mint_data(extensions={TRANSFER_FEE: fee_config(100, 0)}),
    "has a transfer hook": mint_data(extensions={TRANSFER_HOOK: HOOK}),
    "has a hook behind another extension": mint_data(extensions={PAUSABLE: bytes(33), TRANSFER_HOOK: HOOK}),
    "is paused": mint_data(extensions={PAUSABLE: bytes(32) + b"\x01"}),
    "cannot be transferred": mint_data(extensions={NON_TRANSFERABLE: b""}),
    "has 9 decimals": mint_data(decimals=9),
    "has no decimals": mint_data(decimals=0),
    "is a stump": mint_data()[:40],
    "does not exist": b"",
}

WAYS = [
    *(
        Way(
            name=f"mint {name}",
            does=f"is paid in a mint that {name}",
            plain=asks(),
            ends=(refused(RefusalReason.MINT_UNUSABLE),),
            mint=Mint(key(f"mint {name}").pubkey(), data=data),
        )
        for name, data in _UNUSABLE.items()
    ),
    Way(
        name="mint of another program",
        does="is paid in an account that only looks like a mint: no token program owns it",
        plain=asks(),
        ends=(refused(RefusalReason.MINT_UNUSABLE),),
        mint=Mint(key("mint of another program").pubkey(), data=mint_data(), held_by=key("program").pubkey()),
    ),
    Way(
        name="mint of the classic program",
        does="is paid in a mint of the classic program, where CASH is of the newer one: both are read, not assumed",
        plain=asks(),
        ends=(DELIVERED,),
        moves=PRICE,
        mint=Mint(key("mint of the classic program").pubkey(), TOKEN_PROGRAM_ID, mint_data()),
    ),
    Way(
        name="payee's account is frozen",
        does="names a payee whose account takes nothing: no payment lands",
        plain=asks(),
        ends=(UNSETTLED,),
        signs=3,
        frozen_payee=True,
    ),
]
