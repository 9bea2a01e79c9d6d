"""Memos of every script on the real memo program: what is signed has the compute that it takes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.litesvm import LiteSVM
from spl.token.constants import TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.instructions import get_associated_token_address

from autopay.adapters.solana.signer import MAX_PRIORITY_FEE_LAMPORTS, units_for
from autopay.domain.payment.chain import MintFacts
from localnet.chain.execution import ExecutionResult, execute
from localnet.chain.fees import fee_of
from localnet.chain.genesis import CASH_MINT, USDC_MINT, genesis_accounts
from tests.hostile.accounts import Mint, token_account, wallet
from tests.unit.test_signer import FACILITATOR, KEY, OWNER, PAYEE, SOURCE, order, signed

MAX_UNITS = 1_400_000
"""What a transaction may have."""

USDC, CASH = Mint(USDC_MINT, TOKEN_PROGRAM_ID), Mint(CASH_MINT, TOKEN_2022_PROGRAM_ID)
TOKENS = pytest.mark.parametrize("mint", [USDC, CASH], ids=["SPL Token", "Token-2022"])

SCRIPTS = {
    "ASCII": "x",
    "quotes": '"',
    "Latin": "\u00e9",
    "Cyrillic": "\u0436",
    "Hebrew": "\u05e9",
    "Arabic": "\u0639",
    "Thaana": "\u07ba",
    "Devanagari": "\u0915",
    "Thai": "\u0e01",
    "Han": "\u6f22",
    "Hangul": "\ud55c",
    "Hiragana": "\u3042",
    "full-width": "\uff21",
    "ideographic space": "\u3000",
    "joiner": "\u200d",
    "variation selector": "\ufe0f",
    "replacement character": "\ufffd",
    "emoji": "\U0001f680",
    "the newest emoji": "\U0001faae",
    "mathematical": "\U0001d538",
    "rare Han": "\U00020000",
}


@pytest.fixture(scope="module")
def svm() -> LiteSVM:
    """The mints, a source that the session key may spend from, and a payee, for both token programs."""
    svm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
    for address, account in genesis_accounts().items():
        svm.set_account(address, account)
    svm.set_account(FACILITATOR.pubkey(), wallet(10**12))
    return svm


def pay(svm: LiteSVM, mint: Mint, memo: str) -> tuple[ExecutionResult, int]:
    """What a payment with this memo does, and the lamports that it costs beyond its signatures."""
    source = token_account(mint, OWNER.pubkey(), 1_000, delegate=KEY.pubkey(), delegated_atomic=1_000)
    svm.set_account(SOURCE.pubkey(), source)
    destination = get_associated_token_address(PAYEE.pubkey(), mint.address, mint.program)
    svm.set_account(destination, token_account(mint, PAYEE.pubkey()))
    facts = MintFacts(mint=str(mint.address), program=str(mint.program), decimals=6)
    unsigned = order(mint=str(mint.address), memo=memo).model_copy(update={"mint": facts})
    _, _, transaction = signed(unsigned)
    return execute(svm, transaction), fee_of(transaction.message).priority


@TOKENS
@pytest.mark.parametrize("size", [1, 36, 128, 256])
@pytest.mark.parametrize("char", SCRIPTS.values(), ids=SCRIPTS)
def test_a_memo_lands_whatever_its_script_and_length(svm: LiteSVM, mint: Mint, char: str, size: int) -> None:
    memo = char * max(1, size // len(char.encode()))
    done, priority_lamports = pay(svm, mint, memo)
    assert done.error is None, (done.error, done.units, units_for(memo), done.logs[-1:])
    assert done.units <= units_for(memo) <= MAX_UNITS
    assert priority_lamports <= MAX_PRIORITY_FEE_LAMPORTS, "the facilitator pays that"


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=64))
def test_a_memo_of_any_characters_has_the_compute_that_it_takes(svm: LiteSVM, memo: str) -> None:
    done, _ = pay(svm, USDC, memo)
    assert done.error is None, (done.error, done.units, units_for(memo))
