"""Takes a session's money back to its owner: ends the delegation, moves the rest home, closes the account.

One transaction, signed by the owner. Only when no attempt of the session is open: what is left in the account is the
witness that a payment never landed (`domain/settlement.py`), and a closed account says nothing.

| crash | leaves |
|---|---|
| before the owner's transaction is sent | a session without a key, its money in its own account: the same again |
| after it was sent | maybe nothing to do: the same again finds the account closed |
"""

from dataclasses import dataclass

from solders.instruction import Instruction
from solders.pubkey import Pubkey
from spl.token.instructions import (
    close_account,
    create_idempotent_associated_token_account,
    get_associated_token_address,
    revoke,
    transfer_checked,
)
from spl.token.models import CloseAccountParams, RevokeParams, TransferCheckedParams

from autopay.adapters.solana.extensions import withheld_atomic
from autopay.adapters.solana.owner.owner_transaction import OwnerNode
from autopay.domain.money import DECIMALS
from autopay.domain.session import SessionRecord


@dataclass(frozen=True)
class RevokePlan:
    """What the owner's transaction does. `kept_open` says why the account cannot be closed, if so."""

    home: str
    brings_back_atomic: int
    rent_lamports: int
    kept_open: str | None
    steps: tuple[Instruction, ...]


async def plan_revoke(node: OwnerNode, record: SessionRecord) -> RevokePlan | None:
    """What there is to take back now; None when the account is closed, or was never opened."""
    account, mint = Pubkey.from_string(record.source_account), Pubkey.from_string(record.mint)
    found, held = await node.raw_account(account), await node.chain.token_account(record.source_account)
    if found is None or held is None:
        return None
    program, data, lamports = found
    me = Pubkey.from_string(record.owner)
    home = get_associated_token_address(me, mint, program)
    amount, withheld = held.amount_atomic, withheld_atomic(data)
    steps = [revoke(RevokeParams(program_id=program, account=account, owner=me))] if held.delegate is not None else []
    if amount:
        steps += [
            create_idempotent_associated_token_account(me, me, mint, program),
            transfer_checked(
                TransferCheckedParams(
                    program_id=program, source=account, mint=mint, dest=home, owner=me, amount=amount, decimals=DECIMALS
                )
            ),
        ]
    if not withheld:
        steps.append(close_account(CloseAccountParams(program_id=program, account=account, dest=me, owner=me)))
    kept_open = f"it holds {withheld} base units of withheld transfer fees, which are the mint's" if withheld else None
    return RevokePlan(str(home), amount, 0 if withheld else lamports, kept_open, tuple(steps))
