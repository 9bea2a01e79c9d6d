"""Random transactions against an auditor that keeps its own books: no lamport and no token appears or vanishes.

`AUTOPAY_SEED` repeats a run.
"""

import contextlib
import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from solders.account import Account
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM_PROGRAM
from solders.transaction import VersionedTransaction
from spl.token.instructions import approve_checked, close_account, revoke
from spl.token.models import ApproveCheckedParams, CloseAccountParams, RevokeParams

from localnet.chain.bank import Bank
from localnet.chain.execution import ExecutionResult
from localnet.chain.genesis import DECIMALS, FAUCET, MINT_AUTHORITY, genesis_accounts
from localnet.chain.store import Store
from localnet.chain.token_state import read_holding, read_mint
from tests.chain.conftest import CASH, USDC
from tests.chain.wallet import SOL, Token, build, memo, pay_sol

STEPS = 400
Snapshot = dict[Pubkey, Account]


class Chaos:
    """Makes transactions of which many fail, in many ways."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.keys = [Keypair.from_seed(bytes([number]) * 32) for number in range(1, 6)]
        self.tokens = [USDC, CASH]

    def transaction(self, bank: Bank) -> VersionedTransaction:
        payer, other = self.dice.sample([*self.keys, MINT_AUTHORITY], 2)
        instructions = [self._instruction(other) for _ in range(self.dice.randint(1, 4))]
        if self.dice.random() < 0.5:
            price = self.dice.choice([0, 1, 1_000_001, 10**9])
            instructions += [set_compute_unit_price(price), set_compute_unit_limit(self.dice.choice([5_000, 200_000]))]
        instructions.append(memo(self.dice.randbytes(self.dice.choice([1, 16])).hex()))
        return build(bank.window.tip.blockhash, instructions, payer, *self._needed(payer, other, instructions))

    def _needed(self, payer: Keypair, other: Keypair, instructions: list[Instruction]) -> list[Keypair]:
        named = {meta.pubkey for each in instructions for meta in each.accounts if meta.is_signer}
        return [other] if other.pubkey() in named and other != payer else []

    def _instruction(self, signer: Keypair) -> Instruction:
        me, you = signer.pubkey(), self.dice.choice(self.keys).pubkey()
        token = self.dice.choice(self.tokens)
        amount = self.dice.choice([0, 1, 1_000, 10**6, 10**9])
        mine, yours = token.account_of(me), token.account_of(you)
        return self.dice.choice(
            [
                pay_sol(me, you, amount),
                token.open(me, you),
                token.transfer(mine, yours, me, amount),
                token.transfer(yours, mine, me, amount),
                self._mint(token, me, you, amount),
                self._approve(token, mine, me, you, amount),
                revoke(RevokeParams(program_id=token.program, account=mine, owner=me)),
                close_account(CloseAccountParams(program_id=token.program, account=mine, dest=you, owner=me)),
                self._garbage(token, me, mine, yours),
            ]
        )

    def _mint(self, token: Token, me: Pubkey, you: Pubkey, amount: int) -> Instruction:
        return token.mint_to(you, amount) if me == MINT_AUTHORITY.pubkey() else memo("no mint")

    def _approve(self, token: Token, mine: Pubkey, me: Pubkey, you: Pubkey, amount: int) -> Instruction:
        params = ApproveCheckedParams(
            program_id=token.program, source=mine, mint=token.mint, delegate=you,
            owner=me, amount=amount, decimals=DECIMALS,
        )  # fmt: skip
        return approve_checked(params)

    def _garbage(self, token: Token, me: Pubkey, mine: Pubkey, yours: Pubkey) -> Instruction:
        program = self.dice.choice([token.program, SYSTEM_PROGRAM, Pubkey(self.dice.randbytes(32))])
        named = [AccountMeta(key, is_signer=key == me, is_writable=True) for key in (mine, yours, me)]
        return Instruction(program, self.dice.randbytes(self.dice.randint(0, 40)), named)


class Auditor:
    """Keeps a copy of every account from the outcomes alone and compares the chain with it."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.now: Snapshot = {
            address: account for address, account in bank.store.accounts() if address in genesis_accounts()
        }
        self.by_slot: dict[int, Snapshot] = {}

    def book(self, outcome: ExecutionResult) -> None:
        spent = sum(each.lamports for each in outcome.before.values() if each)
        spent -= sum(each.lamports for each in outcome.after.values() if each)
        assert spent == (outcome.fee.total if outcome.charged else 0)
        for address, account in outcome.changes.items():
            if account is None:
                del self.now[address]
            else:
                self.now[address] = account
        self.by_slot[self.bank.window.tip.slot] = dict(self.now)

    def check_tokens(self) -> None:
        for token in (USDC, CASH):
            mint = read_mint(self.now[token.mint])
            holdings = [read_holding(account) for account in self.now.values()]
            held = sum(each.amount for each in holdings if each and each.mint == token.mint)
            assert mint is not None
            assert held == mint.supply

    def check_past(self) -> None:
        for slot, snapshot in self.by_slot.items():
            for address in self.now:
                assert self.bank.account(address, slot) == snapshot.get(address), (slot, address)


@pytest.fixture
def seed() -> int:
    seed = int(os.environ.get("AUTOPAY_SEED", random.SystemRandom().randrange(10**6)))
    print(f"AUTOPAY_SEED={seed}")  # noqa: T201
    return seed


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "chain.db")
    yield store
    store.close()


def test_random_transactions_conserve_what_there_is(seed: int, store: Store, tmp_path: Path) -> None:
    dice = random.Random(seed)  # noqa: S311
    chaos, bank = Chaos(dice), Bank(store)
    auditor = Auditor(bank)
    for key in chaos.keys:
        auditor.book(bank.airdrop(key.pubkey(), 2 * SOL)[1])
    landed = 0
    for _ in range(STEPS):
        transaction = chaos.transaction(bank)
        if bank.refusal(transaction) is not None:
            continue
        tried, must_succeed = bank.try_out(transaction), dice.random() < 0.3
        outcome = bank.process(transaction, must_succeed)
        assert (tried.error, tried.after, tried.logs) == (outcome.error, outcome.after, outcome.logs)
        kept = outcome.charged and not (must_succeed and outcome.error is not None)
        if kept:
            auditor.book(outcome)
            landed += 1
        assert bank.has_landed(transaction) is kept
        if dice.random() < 0.2:
            bank.tick()
    assert landed > STEPS / 4
    auditor.check_tokens()
    auditor.check_past()
    store.close()
    with contextlib.closing(Store(tmp_path / "chain.db")) as again:
        assert dict(again.accounts()) == auditor.now
    assert FAUCET.pubkey() in auditor.now


def test_a_full_disk_leaves_no_trace_of_a_transaction(store: Store, tmp_path: Path) -> None:
    bank = Bank(store)
    payer, receiver = Keypair(), Keypair().pubkey()
    bank.airdrop(payer.pubkey(), 2 * SOL)
    payment = build(bank.window.tip.blockhash, [pay_sol(payer.pubkey(), receiver, SOL)], payer)
    store.close()
    with pytest.raises(sqlite3.ProgrammingError):
        bank.process(payment, must_succeed=True)
    slot = bank.window.tip.slot
    assert bank.account(receiver, slot) is None
    left = bank.account(payer.pubkey(), slot)
    assert left is not None
    assert left.lamports == 2 * SOL


def test_a_message_lands_once_whoever_signs_it(store: Store) -> None:
    """A status cache knows messages: another valid signature of the same key makes no second payment."""
    bank = Bank(store)
    payer = Keypair()
    bank.airdrop(payer.pubkey(), SOL)
    first = build(bank.window.tip.blockhash, [memo("once")], payer)
    other = VersionedTransaction.populate(first.message, [payer.sign_message(b"another signature")])
    assert bank.refusal(other) is None
    bank.process(first, must_succeed=True)
    assert bank.refusal(other) == "AlreadyProcessed"
