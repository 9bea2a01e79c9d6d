"""What a wallet may change in a transaction before it signs it, and what is refused. Pure.

Autopay sends nothing that its owner was not asked to sign. Wallets add to what they are asked for: Phantom and
Solflare add Lighthouse assertions, and the compute budget when there is none (docs.phantom.com, *Transaction
Validation* and *Solana priority fees*).

| in what the wallet signed | is |
|---|---|
| Lighthouse assertions, anywhere | allowed: they move nothing and can only make the transaction fail |
| a compute unit limit and price, each once | allowed, up to `MOST_PRIORITY_LAMPORTS` |
| accounts that only those instructions read | allowed, read-only and not signing |
| the instructions that were asked for | the same, in the same order, each once, with the same accounts and rights |
| fee payer, signers, blockhash | the same |
| anything else: other programs, lookup tables, a legacy message | refused |

The blockhash must stay, because it says until when the transaction can land. A durable nonce would let it land at any
time: it needs an instruction of its own, which is refused like every other.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.message import MessageV0
from solders.pubkey import Pubkey

LIGHTHOUSE = Pubkey.from_string("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95")
FIRST_ASSERTION, LAST_ASSERTION = 2, 15
"""First bytes of Lighthouse's instructions (github.com/Jac0xb/lighthouse, instruction.rs): AssertAccountData to
AssertSysvarClock. 0 and 1 write and close an account with the owner's SOL; 16 calls another program; 17 is for trees of
compressed NFTs. What Lighthouse adds later is refused until somebody has read it."""

UNIT_LIMIT, UNIT_PRICE = 2, 3
"""First bytes of SetComputeUnitLimit (u32: units) and SetComputeUnitPrice (u64: micro-lamports per unit)."""
LENGTHS = {UNIT_LIMIT: 5, UNIT_PRICE: 9}

MOST_UNITS = 1_400_000
"""What a transaction may use, and so what it is charged for when a price comes without a limit."""
MOST_PRIORITY_LAMPORTS = 5_000_000
"""0.005 SOL. The owner pays it and its wallet shows it; more than this is a mistake or an attack."""
MICRO = 1_000_000


@dataclass(frozen=True)
class Step:
    """One instruction with its accounts by address instead of by index."""

    program: Pubkey
    accounts: tuple[Pubkey, ...]
    data: bytes


@dataclass(frozen=True)
class Rights:
    """What a message lets its instructions do with an account."""

    signs: bool
    writable: bool


NO_RIGHTS = Rights(signs=False, writable=False)


def why_not_the_same(asked: MessageV0, signed: MessageV0) -> str | None:
    """Why what the wallet signed is not what it was asked for, give or take what it may add; None when it is."""
    return _malformed(signed) or _frame_differs(asked, signed) or _steps_differ(asked, signed)


def _malformed(message: MessageV0) -> str | None:
    """What a validator would refuse, and what would make indexes mean something else than they seem to."""
    keys, header = message.account_keys, message.header
    signers = header.num_required_signatures
    used = [index for each in message.instructions for index in (each.program_id_index, *each.accounts)]
    if message.address_table_lookups:
        return "the wallet added an address lookup table"
    if len(set(keys)) != len(keys) or any(index >= len(keys) for index in used):
        return "the wallet made a transaction whose accounts are not well formed"
    if not header.num_readonly_signed_accounts < signers <= len(keys) - header.num_readonly_unsigned_accounts:
        return "the wallet made a transaction whose header is not well formed"
    return None


def _frame_differs(asked: MessageV0, signed: MessageV0) -> str | None:
    if _signers(asked) != _signers(signed):
        return "the wallet changed who pays the fee or who signs"
    if asked.recent_blockhash != signed.recent_blockhash:
        return "the transaction has another blockhash than the one that was exported last"
    return None


def _steps_differ(asked: MessageV0, signed: MessageV0) -> str | None:
    ours, theirs = _steps(asked), _steps(signed)
    added = [each for each in theirs if each.program in (LIGHTHOUSE, COMPUTE_BUDGET)]
    kept = [each for each in theirs if each.program not in (LIGHTHOUSE, COMPUTE_BUDGET)]
    if kept != ours:
        return _what_differs(ours, kept)
    return (
        _guard_refused([each for each in added if each.program == LIGHTHOUSE])
        or _budget_refused([each for each in added if each.program == COMPUTE_BUDGET])
        or _rights_differ(asked, signed, added)
    )


def _what_differs(ours: Sequence[Step], theirs: Sequence[Step]) -> str:
    extra = list((Counter(theirs) - Counter(ours)).elements())
    if extra:
        programs = ", ".join(dict.fromkeys(str(each.program) for each in extra))
        return f"the wallet added or changed instructions (of {programs})"
    if Counter(ours) != Counter(theirs):
        return "the wallet left instructions out"
    return "the wallet changed the order of the instructions"


def _guard_refused(guards: Sequence[Step]) -> str | None:
    for each in guards:
        if not each.data or not FIRST_ASSERTION <= each.data[0] <= LAST_ASSERTION:
            return "the wallet added a Lighthouse instruction that is no assertion"
    return None


def _budget_refused(budget: Sequence[Step]) -> str | None:
    kinds = [each.data[0] if each.data else None for each in budget]
    wrong = any(
        each.accounts or LENGTHS.get(kind or 0) != len(each.data) for each, kind in zip(budget, kinds, strict=True)
    )
    if wrong or len(set(kinds)) != len(kinds):
        return "the wallet added compute budget instructions other than one unit limit and one unit price"
    numbers = {each.data[0]: int.from_bytes(each.data[1:], "little") for each in budget}
    units = min(numbers.get(UNIT_LIMIT, MOST_UNITS), MOST_UNITS)
    lamports = -(-numbers.get(UNIT_PRICE, 0) * units // MICRO)
    if lamports > MOST_PRIORITY_LAMPORTS:
        return f"the wallet added a priority fee of {lamports} lamports; at most {MOST_PRIORITY_LAMPORTS} are accepted"
    return None


def _rights_differ(asked: MessageV0, signed: MessageV0, added: Sequence[Step]) -> str | None:
    """Rights are the whole message's: an added account that may be written could be written by any instruction."""
    ours, theirs = _rights(asked), _rights(signed)
    if any(theirs.get(key) != rights for key, rights in ours.items()):
        return "the wallet changed what the instructions may do with an account"
    read = {key for each in added for key in (each.program, *each.accounts)}
    if any(rights != NO_RIGHTS or key not in read for key, rights in theirs.items() if key not in ours):
        return "the wallet added an account that none of the allowed instructions only reads"
    return None


def _signers(message: MessageV0) -> Sequence[Pubkey]:
    return message.account_keys[: message.header.num_required_signatures]


def _steps(message: MessageV0) -> list[Step]:
    keys = message.account_keys
    return [
        Step(keys[each.program_id_index], tuple(keys[index] for index in each.accounts), bytes(each.data))
        for each in message.instructions
    ]


def _rights(message: MessageV0) -> dict[Pubkey, Rights]:
    """By the header (docs.solana.com, *Transactions*): signers first, and in each half the read-only ones last."""
    header, count = message.header, len(message.account_keys)
    signers = header.num_required_signatures
    written_signers = signers - header.num_readonly_signed_accounts
    written_others = count - header.num_readonly_unsigned_accounts
    return {
        key: Rights(
            signs=index < signers,
            writable=index < written_signers or signers <= index < written_others,
        )
        for index, key in enumerate(message.account_keys)
    }
