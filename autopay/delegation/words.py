"""What an owner's transaction does and costs, in words that a person reads before signing it. Pure."""

from collections.abc import Sequence

from autopay.adapters.solana.owner.revoke import RevokePlan
from autopay.adapters.solana.owner.wallet_changes import MOST_PRIORITY_LAMPORTS
from autopay.domain.money import show
from autopay.domain.session import SessionRecord
from autopay.domain.text.times import span

LAMPORTS_PER_SOL = 10**9

FEE_LAMPORTS = 5_000
"""What every signature costs (docs.solana.com, *Transaction fees*), and the owner's is the only one."""


def describe_grant(record: SessionRecord) -> Sequence[str]:
    """What the owner's transaction does and costs, line by line, and what the session allows."""
    amount = show(record.allowance_atomic, record.currency)
    lasts = f" within {span(record.duration_s)} of the grant" if record.duration_s else ""
    whom = f"to {', '.join(record.hosts)} only" if record.hosts else "to any host"
    rent = record.owner_transaction.rent_lamports if record.owner_transaction is not None else 0
    lent = f"lends it {sol(rent)} of rent, which a revoke gives back, and costs" if rent else "costs"
    return (
        f"opens account {record.source_account} of {record.owner}, for this session alone",
        f"moves {amount} into it from the owner's {record.currency} account; the rest stays where it is",
        f"lets key {record.authority} pay from it, {amount} at most, enforced by the chain",
        f"the session allows {record.tx_limit} payments{lasts}, {whom}, enforced by Autopay",
        f"{lent} {_fee()}",
    )


def describe_revoke(record: SessionRecord, plan: RevokePlan) -> Sequence[str]:
    """What the owner's transaction does and costs, line by line."""
    words = [f"takes account {record.source_account} from key {record.authority}"]
    if plan.brings_back_atomic:
        words.append(f"moves {show(plan.brings_back_atomic, record.currency)} back to {plan.home}")
    if plan.kept_open:
        words.append(f"leaves the account open: {plan.kept_open}")
    else:
        words.append(f"closes the account; its rent, {sol(plan.rent_lamports)}, goes back to {record.owner}")
    return (*words, f"costs {_fee()}")


def sol(lamports: int) -> str:
    """An amount of SOL with its unit."""
    return f"{lamports / LAMPORTS_PER_SOL:.6f} SOL"


def _fee() -> str:
    most = f"{MOST_PRIORITY_LAMPORTS / LAMPORTS_PER_SOL:f}".rstrip("0")
    return f"a fee of {sol(FEE_LAMPORTS)}; a wallet may add a priority fee of up to {most} SOL"
