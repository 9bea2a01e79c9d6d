"""Deliberate bugs in how the chain is asked what became of a payment; `bugs.py` lists them."""

from typing import Any
from uuid import UUID

from activities.verify import VerifyStep
from autopay.adapters.solana import chain as solana_chain
from autopay.adapters.solana.answers import U64, AccountData
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.errors import ChainUnavailable
from autopay.domain.payment import settlement
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.chain import LandedTransaction, Tip
from autopay.domain.payment.payment import (
    Dead,
    Seen,
    Settled,
    Settlement,
    Unknown,
    Verdict,
)
from autopay.domain.payment.ports import Chain
from autopay.domain.payment.settlement import BookedUpTo
from autopay.domain.payment.steps import AttemptRef
from autopay.domain.session import Booked
from tests.world.ledger_sessions import MemorySessions
from tests.world.node import SimNode

Swap = tuple[Any, str, Any]

_absence = settlement._absence


def trusts_expiry_alone() -> list[Swap]:
    async def absence(chain: Chain, booked_up_to: BookedUpTo, attempt: RecordedAttempt, slot_ms: int) -> Verdict:
        tip = await chain.finalized_tip()
        if tip.block_height > attempt.last_valid_block_height:
            return Dead(reason="expired_unsettled")
        return Unknown(reason="blockhash_live", retry_after_ms=1_000)

    return [(settlement, "_absence", absence), (settlement, "check_settlement", absence), *_looking_with(absence)]


def _looking_with(look: Any) -> list[Swap]:
    from activities import verify  # noqa: PLC0415  the name that the activity calls

    return [(verify, "check_settlement", look)]


def matches_by_memo_alone() -> list[Swap]:
    return [(settlement, "_is_ours", lambda _landed, _attempt: True)]


def matches_by_the_transfer_alone() -> list[Swap]:
    def is_ours(landed: LandedTransaction, attempt: RecordedAttempt) -> bool:
        return any(
            (each.destination, each.amount_atomic) == (attempt.destination_account, attempt.amount_atomic)
            for each in landed.transfers
        )

    return [(settlement, "_is_ours", is_ours)]


def believes_a_receipt_without_looking() -> list[Swap]:
    look = settlement.check_settlement

    async def believing(chain: Chain, booked_up_to: BookedUpTo, attempt: RecordedAttempt, slot_ms: int) -> Verdict:
        if attempt.status != "SUCCESS" or not attempt.claims:
            return await look(chain, booked_up_to, attempt, slot_ms)
        claimed = Settlement(
            signature=attempt.claims[0],
            slot=attempt.blockhash_slot,
            payer=attempt.authority,
            destination=attempt.destination_account,
            mint=attempt.mint,
            amount_atomic=attempt.amount_atomic,
        )
        return Settled(settlement=claimed)

    return _looking_with(believing)


def skips_the_allowance_check() -> list[Swap]:
    async def absence(chain: Chain, booked_up_to: BookedUpTo, attempt: RecordedAttempt, slot_ms: int) -> Verdict:
        verdict = await _absence(chain, booked_up_to, attempt, slot_ms)
        if isinstance(verdict, Unknown) and verdict.reason == "allowance_unequal":
            return Dead(reason="expired_unsettled")
        return verdict

    return [(settlement, "_absence", absence)]


def reads_the_height_at_confirmed() -> list[Swap]:
    finalized_tip = SimNode.finalized_tip

    async def mixed_tip(self: SimNode) -> Tip:
        tip = await finalized_tip(self)
        return tip.model_copy(update={"block_height": self.chain.height_at(self.chain.confirmed_slot())})

    return [(SimNode, "finalized_tip", mixed_tip)]


def compares_the_slot_with_the_last_valid_height() -> list[Swap]:
    finalized_tip = SimNode.finalized_tip

    async def slot_for_height(self: SimNode) -> Tip:
        tip = await finalized_tip(self)
        return tip.model_copy(update={"block_height": tip.slot})

    return [(SimNode, "finalized_tip", slot_for_height)]


def books_a_failed_transaction() -> list[Swap]:
    landed_verdict = settlement._landed_verdict

    async def verdict(chain: Chain, landed: LandedTransaction, slot_ms: int) -> Verdict:
        return await landed_verdict(chain, landed.model_copy(update={"failed": False}), slot_ms)

    return [(settlement, "_landed_verdict", verdict)]


def takes_not_found_for_dead() -> list[Swap]:
    async def absence(chain: Chain, booked_up_to: BookedUpTo, attempt: RecordedAttempt, slot_ms: int) -> Verdict:
        return Dead(reason="not_found")

    return [(settlement, "_absence", absence)]


def asks_any_node_without_a_least_slot() -> list[Swap]:
    def reads_at(self: SimNode, view: Any, final: bool, min_slot: int | None) -> int:
        return self.chain.final_slot(view.lag) if final else self.chain.confirmed_slot(view.lag)

    return [(SimNode, "_reads_at", reads_at), *believes_that_a_node_is_at_the_slot_it_was_asked_for()]


def counts_a_payment_as_the_reason_of_its_own_death() -> list[Swap]:
    booked_up_to = MemorySessions.booked_up_to

    async def with_its_own(self: MemorySessions, session_id: UUID, slot: int, besides: UUID | None = None) -> Booked:
        booked: Booked = await booked_up_to(self, session_id, slot)
        return booked

    return [(MemorySessions, "booked_up_to", with_its_own)]


def takes_confirmed_for_final() -> list[Swap]:
    verify = VerifyStep.verify

    async def verify_silently(self: VerifyStep, ref: AttemptRef) -> Verdict:
        verdict = await verify(self, ref)
        if isinstance(verdict, Seen):
            return Settled(settlement=verdict.settlement)
        return verdict

    return [(VerifyStep, "verify", verify_silently)]


def fails_at_what_is_no_answer() -> list[Swap]:
    def read(self: NodeRpc, number: int, status: int, body: bytes, answer: Any) -> Any:
        return answer.model_validate_json(body).result

    return [(NodeRpc, "_read", read)]


def takes_an_error_for_an_answer_without_content() -> list[Swap]:
    really = NodeRpc._result

    async def result(self: NodeRpc, method: str, params: tuple[Any, ...], answer: Any) -> Any:
        try:
            return await really(self, method, params, answer)
        except ChainUnavailable:
            return [] if method == "getSignaturesForAddress" else None

    return [(NodeRpc, "_result", result)]


def reads_numbers_that_nobody_needs() -> list[Swap]:
    class WholeAccount(AccountData):
        rent_epoch: U64

    return [(solana_chain, "AccountData", WholeAccount)]


def believes_that_a_node_is_at_the_slot_it_was_asked_for() -> list[Swap]:
    account = SolanaChain.account

    async def unchecked(self: SolanaChain, address: str, commitment: Any = "confirmed", _: int | None = None) -> Any:
        return await account(self, address, commitment)

    return [(SolanaChain, "account", unchecked)]


def forgets_that_a_blockhash_may_be_old() -> list[Swap]:
    return [(settlement, "LIFE_SLOTS", 100)]


BUGS_IN_LOOKING = (
    fails_at_what_is_no_answer,
    takes_an_error_for_an_answer_without_content,
    reads_numbers_that_nobody_needs,
    believes_that_a_node_is_at_the_slot_it_was_asked_for,
    forgets_that_a_blockhash_may_be_old,
    trusts_expiry_alone,
    matches_by_memo_alone,
    matches_by_the_transfer_alone,
    believes_a_receipt_without_looking,
    skips_the_allowance_check,
    reads_the_height_at_confirmed,
    compares_the_slot_with_the_last_valid_height,
    books_a_failed_transaction,
    takes_not_found_for_dead,
    asks_any_node_without_a_least_slot,
    counts_a_payment_as_the_reason_of_its_own_death,
    takes_confirmed_for_final,
)
