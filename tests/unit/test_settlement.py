"""When a payment that was never seen may be called dead: the last question, which the chain's own numbers answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

import pytest

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.chain import (
    Blockhash,
    HistoryEntry,
    LandedTransaction,
    MintFacts,
    Tip,
    TokenAccount,
    TransactionState,
)
from autopay.domain.payment.payment import Dead, Unknown, Verdict
from autopay.domain.payment.ports import Chain
from autopay.domain.payment.settlement import NEEDS_A_PERSON, check_settlement
from autopay.domain.session import Booked

PRICE = 1_000
ALLOWANCE = 10_000
FINAL_SLOT = 500

ATTEMPT = RecordedAttempt(
    attempt_id=uuid4(),
    session_id=uuid4(),
    agent="buyer",
    request_key="ap_one",
    number=1,
    network=Network.DEVNET,
    currency=Currency.USDC,
    mint="mint",
    amount_atomic=PRICE,
    pay_to="seller",
    source_account="source",
    destination_account="destination",
    authority="session key",
    memo="memo",
    message_hash="hash",
    buyer_signature="signature",
    blockhash="blockhash",
    blockhash_slot=100,
    last_valid_block_height=250,
    newest_prior_signature=None,
    version=2,
    sealed="sealed",
)


@dataclass(frozen=True)
class ExpiredUnseen:
    """A node on which the blockhash has expired and no transaction of ours is found. `account` is the source's."""

    amount: int | None
    delegate: str | None
    delegated: int = 0

    async def genesis_hash(self) -> str:
        raise NotImplementedError

    async def latest_blockhash(self) -> Blockhash:
        raise NotImplementedError

    async def mint_facts(self, mint: str) -> MintFacts | None:
        raise NotImplementedError

    async def newest_signature(self, account: str) -> str | None:
        raise NotImplementedError

    async def finalized_tip(self) -> Tip:
        return Tip(slot=FINAL_SLOT, block_height=400)

    async def first_available_slot(self) -> int:
        return 0

    async def transaction(self, signature: str) -> LandedTransaction | None:
        return None

    async def statuses(self, signatures: Sequence[str]) -> Sequence[TransactionState | None]:
        raise NotImplementedError

    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[HistoryEntry]:
        return []

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        assert (final, min_slot) == (True, FINAL_SLOT)
        if self.amount is None:
            return None
        return TokenAccount(
            address=address,
            owner="owner",
            mint="mint",
            amount_atomic=self.amount,
            delegate=self.delegate,
            delegated_atomic=self.delegated,
            slot=FINAL_SLOT,
        )


async def verdict_on(chain: Chain, *, settled: int) -> Verdict:
    """What is said of the attempt when the ledger has booked that much of others."""

    async def booked_up_to(session: UUID, slot: int, besides: UUID) -> Booked:
        assert (session, slot, besides) == (ATTEMPT.session_id, FINAL_SLOT, ATTEMPT.attempt_id)
        return Booked(allowance_atomic=ALLOWANCE, settled_atomic=settled)

    return await check_settlement(chain, booked_up_to, ATTEMPT, slot_ms=400)


DELEGATED = ExpiredUnseen(amount=ALLOWANCE - PRICE, delegate="session key", delegated=ALLOWANCE - PRICE)
TAKEN_AWAY = ExpiredUnseen(amount=ALLOWANCE - PRICE, delegate=None)


async def test_an_allowance_that_the_bookings_explain_proves_it_dead() -> None:
    assert await verdict_on(DELEGATED, settled=PRICE) == Dead(reason="expired_unsettled")


async def test_the_owners_own_transfers_do_not_matter_while_the_delegation_stands() -> None:
    assert await verdict_on(replace(DELEGATED, amount=3), settled=PRICE) == Dead(reason="expired_unsettled")


async def test_an_allowance_that_nobody_booked_leaves_it_open() -> None:
    assert reason_of(await verdict_on(DELEGATED, settled=0)) == "allowance_unequal"


async def test_an_allowance_that_the_bookings_used_up_proves_it_dead() -> None:
    used_up = ExpiredUnseen(amount=0, delegate=None)
    assert await verdict_on(used_up, settled=ALLOWANCE) == Dead(reason="expired_unsettled")


@pytest.mark.parametrize("delegate", [None, "another session's key"])
async def test_a_delegation_taken_away_leaves_it_to_a_person(delegate: str | None) -> None:
    chain = replace(TAKEN_AWAY, delegate=delegate, delegated=7 if delegate else 0)
    reason = reason_of(await verdict_on(chain, settled=PRICE))
    assert reason == "allowance_unequal"
    assert reason in NEEDS_A_PERSON


async def test_a_closed_account_proves_nothing() -> None:
    closed = ExpiredUnseen(amount=None, delegate=None)
    assert reason_of(await verdict_on(closed, settled=PRICE)) == "source_account_unreadable"


def reason_of(verdict: Verdict) -> str:
    assert isinstance(verdict, Unknown), verdict
    return verdict.reason
