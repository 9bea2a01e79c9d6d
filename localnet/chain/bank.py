"""The chain itself: slots go by, transactions land, accounts change.

Everything runs on one event loop, so nothing here locks. Where it differs from a cluster: no forks, no votes, no
leaders (a transaction lands in the newest block at once), one blockhash a block, no limit on a block's size, and a
standing chain (weather) still takes transactions into its newest block.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

from solders.account import Account
from solders.clock import Clock
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from localnet.chain import execution, record
from localnet.chain.blocks import (
    FIRST_HEIGHT,
    FIRST_SLOT,
    RESTART_GAP,
    SLOTS_PER_EPOCH,
    Block,
    BlockWindow,
    is_skipped,
)
from localnet.chain.errors import TransactionError
from localnet.chain.execution import ExecutionResult
from localnet.chain.genesis import FAUCET, genesis_accounts
from localnet.chain.store import Store
from localnet.chain.token_state import read_holding
from localnet.chain.versions import KEPT_SLOTS, AccountVersions

_GENESIS_BLOCKS = 64  # so that a new chain has a finalized block
_FAUCET_UNITS = 1_000


class Bank:
    """One chain, as its newest block has it."""

    def __init__(self, store: Store, now: Callable[[], float] = time.time) -> None:
        self.store = store
        self.versions = AccountVersions()
        self._now = now
        self._token_accounts: defaultdict[Pubkey, dict[Pubkey, None]] = defaultdict(dict)
        self._airdrops = 0
        self._svm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        kept = store.blocks()
        self.window = BlockWindow(kept or self._begin())
        self._slot = self.window.tip.slot + (RESTART_GAP if kept else 0)  # the newest slot, block or not
        for address, account in store.accounts():
            self._svm.set_account(address, account)
            self._index(address, account)
        self.tick()

    def _begin(self) -> list[Block]:
        slots = [slot for slot in range(FIRST_SLOT, FIRST_SLOT + _GENESIS_BLOCKS) if not is_skipped(slot)]
        blocks = [
            Block(slot, FIRST_HEIGHT + index, Hash(os.urandom(32)), int(self._now()))
            for index, slot in enumerate(slots)
        ]
        self.store.begin_chain(blocks, genesis_accounts())
        return blocks

    def tick(self) -> None:
        """One slot goes by; unless it is skipped, it brings a block."""
        self._slot += 1
        if is_skipped(self._slot):
            return
        tip = self.window.tip
        block_time = max(int(self._now()), tip.time)
        block = Block(self._slot, tip.height + 1, Hash(os.urandom(32)), block_time)
        self.store.add_block(block)
        self.window.append(block)
        self.versions.forget(block.slot - KEPT_SLOTS)
        epoch = block.slot // SLOTS_PER_EPOCH
        self._svm.set_clock(Clock(block.slot, block_time, epoch, epoch + 1, block_time))

    def account(self, address: Pubkey, slot: int) -> Account | None:
        """An account as it was at the end of a slot; further back than `KEPT_SLOTS`, the oldest known state."""
        return self.versions.at(slot, address, self._svm.get_account(address))

    def token_accounts(self, key: Pubkey) -> Iterable[Pubkey]:
        """Token accounts that this wallet owned or was a delegate of, at some time."""
        return self._token_accounts.get(key, ())

    def refusal(self, transaction: VersionedTransaction) -> TransactionError | None:
        """Why this transaction cannot land in the newest block, whatever it does."""
        origin = self.window.of(transaction.message.recent_blockhash)
        if origin is None or self.window.tip.height > origin.last_valid_height:
            return "BlockhashNotFound"
        if self.has_landed(transaction):
            return "AlreadyProcessed"
        return None

    def has_landed(self, transaction: VersionedTransaction) -> bool:
        """Whether this message is in a block; a cluster's status cache knows messages, whoever signed them."""
        return self.store.has_message(bytes(transaction.message.hash()))

    def try_out(self, transaction: VersionedTransaction) -> ExecutionResult:
        """What a transaction would do to the newest state."""
        outcome = execution.execute(self._svm, transaction)
        execution.undo(self._svm, outcome)
        return outcome

    def process(self, transaction: VersionedTransaction, must_succeed: bool) -> ExecutionResult:
        """Execute a transaction for good; with `must_succeed`, a failure leaves no trace.

        It is on disk when this returns. The caller has checked signatures and `refusal`.
        """
        outcome = execution.execute(self._svm, transaction)
        if must_succeed and outcome.error is not None:
            execution.undo(self._svm, outcome)
        elif outcome.charged:
            self._land(transaction, outcome)
        return outcome

    def airdrop(self, recipient: Pubkey, lamports: int) -> tuple[VersionedTransaction, ExecutionResult]:
        """Send SOL from the faucet by an ordinary transaction; each has its own compute limit and thus signature."""
        self._airdrops += 1
        payer = FAUCET.pubkey()
        distinct = set_compute_unit_limit(_FAUCET_UNITS + self._airdrops % 100_000)
        pay = transfer(TransferParams(from_pubkey=payer, to_pubkey=recipient, lamports=lamports))
        message = MessageV0.try_compile(payer, [distinct, pay], [], self.window.tip.blockhash)
        transaction = VersionedTransaction(message, [FAUCET])
        return transaction, self.process(transaction, must_succeed=True)

    def _land(self, transaction: VersionedTransaction, outcome: ExecutionResult) -> None:
        tip, changes = self.window.tip, outcome.changes
        try:
            row = record.to_stored(transaction, outcome, tip, self._svm.get_account)
            self.store.add_transaction(row, transaction.message.account_keys, changes)
        except BaseException:
            execution.undo(self._svm, outcome)
            raise
        for address, after in changes.items():
            self.versions.record(tip.slot, address, outcome.before[address], after)
            self._index(address, after)

    def _index(self, address: Pubkey, account: Account | None) -> None:
        holding = read_holding(account)
        for key in (holding.owner, holding.delegate) if holding else ():
            if key is not None:
                self._token_accounts[key][address] = None
