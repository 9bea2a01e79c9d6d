"""What the chain shows: blockhashes, finality, mints, token accounts and transactions."""

from autopay.domain.money import DECIMALS
from autopay.domain.values import Value


class Transfer(Value):
    """A TransferChecked as a transaction carries it; amounts in base units."""

    source: str
    mint: str
    destination: str
    authority: str
    amount_atomic: int


class LandedTransaction(Value):
    """A transaction that is in a block; `failed` when it had no effect but its fee, `final` at finalized."""

    signature: str
    slot: int
    failed: bool
    final: bool
    message_hash: str
    signatures: tuple[str, ...]
    transfers: tuple[Transfer, ...]


class TransactionState(Value):
    """What became of a transaction, at least confirmed; `failed` when it had no effect but its fee."""

    slot: int
    failed: bool
    final: bool


class HistoryEntry(Value):
    """One row of an account's history; `memos` is the node's text for all memos of the transaction, if it has one."""

    signature: str
    slot: int
    failed: bool
    memos: str | None


class Blockhash(Value):
    """A recent blockhash at confirmed, the slot of the reading, and the last block height that accepts it."""

    blockhash: str
    slot: int
    last_valid_block_height: int


class Tip(Value):
    """Where finality stands on one node. Slot and height are different numbers: slots can be empty."""

    slot: int
    block_height: int


class MintFacts(Value):
    """What the mint account says; `problem` names what makes it unusable (a fee, a hook, a pause), if anything."""

    mint: str
    program: str
    decimals: int
    problem: str | None = None

    @property
    def unusable(self) -> str | None:
        """Why nothing is paid in this mint, and no session granted; None when it can be."""
        return self.problem if self.decimals == DECIMALS else f"the mint has {self.decimals} decimals"


class TokenAccount(Value):
    """A token account as of `slot`; a delegate whose allowance reached 0 is gone (SPL Token)."""

    address: str
    owner: str
    mint: str
    amount_atomic: int
    delegate: str | None
    delegated_atomic: int
    slot: int
