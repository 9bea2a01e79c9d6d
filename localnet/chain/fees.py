"""What a transaction costs its fee payer, and what must be left in an account.

LiteSVM charges the base fee only; the priority fee and the rent rules are a cluster's and are added here.
"""

from dataclasses import dataclass

from solders.account import Account
from solders.compute_budget import ID as COMPUTE_BUDGET_PROGRAM
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey

LAMPORTS_PER_SIGNATURE = 5_000
_MICROLAMPORTS = 1_000_000
_SET_LIMIT, _SET_PRICE = 2, 3
_MAX_UNITS = 1_400_000
_UNITS_PER_INSTRUCTION = 200_000
_UNITS_PER_BUILTIN = 3_000  # SIMD-170
_BUILTINS = {Pubkey.default(), COMPUTE_BUDGET_PROGRAM}


@dataclass(frozen=True, slots=True)
class Fee:
    """In lamports."""

    base: int
    priority: int

    @property
    def total(self) -> int:
        """What the payer loses, whether the transaction succeeds or not."""
        return self.base + self.priority


def fee_of(message: Message | MessageV0) -> Fee:
    """5000 lamports a signature, and the compute-unit price times the units asked for, rounded up."""
    keys = message.account_keys
    price, limit, default = 0, None, 0
    for instruction in message.instructions:
        program, data = keys[instruction.program_id_index], bytes(instruction.data)
        default += _UNITS_PER_BUILTIN if program in _BUILTINS else _UNITS_PER_INSTRUCTION
        if program != COMPUTE_BUDGET_PROGRAM or not data:
            continue
        if data[0] == _SET_LIMIT:
            limit = int.from_bytes(data[1:5], "little")
        elif data[0] == _SET_PRICE:
            price = int.from_bytes(data[1:9], "little")
    units = min(default if limit is None else limit, _MAX_UNITS)
    priority = -(-units * price // _MICROLAMPORTS)
    return Fee(LAMPORTS_PER_SIGNATURE * message.header.num_required_signatures, priority)


def rent_exempt_minimum(size: int) -> int:
    """The lamports that an account of this many bytes must hold to exist: two years' rent."""
    return (size + 128) * 6_960


def breaks_rent(before: Account | None, after: Account | None) -> bool:
    """Whether a transaction leaves an account with too little, by Agave's rule for rent states.

    An account may be empty or exempt; one that already held too little may only go on losing at the same size.
    """
    if after is None or after.lamports >= rent_exempt_minimum(len(after.data)):
        return False
    was_paying = before is not None and before.lamports < rent_exempt_minimum(len(before.data))
    if before is None or not was_paying:
        return True
    return len(before.data) != len(after.data) or after.lamports > before.lamports
