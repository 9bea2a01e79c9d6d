"""An account's history, page by page from a played node: batches tile the slots, and nothing of it is lost."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
from solders.signature import Signature

from autopay.adapters.solana.history import HistoryWalk
from autopay.domain.errors import ChainUnavailable
from autopay.domain.payment.chain import HistoryEntry, LandedTransaction
from autopay.domain.reconcile.checkpoint import HistoryBatch, HistoryPosition
from autopay.domain.reconcile.run import CheckpointForeign
from tests.unit.books_and_chain import payer_of, transfer_of

PAYER = payer_of()


def signature(number: int) -> Signature:
    """The transaction of that number."""
    return Signature(bytes([number]) * 64)


class PlayedNode:
    """A node whose account has transactions in these slots, oldest first.

    It answers with at most `short` rows, whatever is asked, and fails `faults` times.
    """

    def __init__(self, slots: Sequence[int], *, page: int = 3, short: int = 1_000, faults: int = 0) -> None:
        self.rows = [(str(signature(number)), slot) for number, slot in enumerate(slots, 1)][::-1]
        self.page_size = page
        self.short = short
        self.faults = faults
        self.asked: list[str] = []

    async def page(self, account: str, **asked: Any) -> Sequence[HistoryEntry]:
        if self.faults:
            self.faults -= 1
            raise ChainUnavailable("429")
        assert (account, asked["min_slot"]) == (PAYER.source_account, 77)
        rows = self.rows
        if asked["before"] is not None:
            known = [row[0] for row in rows]
            rows = rows[known.index(asked["before"]) + 1 :] if asked["before"] in known else []
        return [
            HistoryEntry(signature=name, slot=slot, failed=False, memos=None)
            for name, slot in rows[: min(asked["limit"], self.short)]
        ]

    async def final_transaction(self, signature: str) -> LandedTransaction | None:
        self.asked.append(signature)
        found = next((row for row in self.rows if row[0] == signature), None)
        if found is None:
            return None
        stranger = transfer_of(PAYER, authority="the owner")
        return LandedTransaction(
            signature=signature,
            slot=found[1],
            failed=False,
            final=True,
            message_hash="m",
            signatures=(signature,),
            transfers=(stranger, transfer_of(PAYER)),
        )

    async def walk(
        self, up_to: int = 77, before: str | None = None, until: HistoryPosition | None = None
    ) -> list[HistoryBatch]:
        """Every batch."""
        walk = HistoryWalk(self, self.page_size, first_wait_s=0)
        return [each async for each in walk.batches(PAYER, up_to_slot=up_to, before=before, until=until, min_slot=77)]


def slots_of(batches: list[HistoryBatch]) -> list[int]:
    """The slots of all transactions; the batches must tile."""
    for newer, older in itertools.pairwise(batches):
        assert newer.above_slot == older.up_to_slot
    for batch in batches:
        assert all(batch.above_slot < each.slot <= batch.up_to_slot for each in batch.transactions)
    return [each.slot for batch in batches for each in batch.transactions]


@pytest.mark.parametrize("page", [1, 2, 3, 50])
@pytest.mark.parametrize("short", [1, 2, 50])
@pytest.mark.parametrize("slots", [[], [5], [1, 2, 3, 4, 5, 6, 7], [3, 3, 3, 3, 4, 4, 9, 9, 9], [0, 77, 77]])
async def test_every_transaction_is_in_one_batch(slots: list[int], page: int, short: int) -> None:
    batches = await PlayedNode(slots, page=page, short=short).walk()
    assert slots_of(batches) == slots[::-1]
    assert (batches[0].up_to_slot, batches[-1].above_slot) == (77, -1)


async def test_what_is_newer_than_the_compared_slot_is_left_out() -> None:
    assert slots_of(await PlayedNode([4, 5, 6, 7]).walk(up_to=5)) == [5, 4]


async def test_only_transfers_by_the_session_key_are_ours() -> None:
    batches = await PlayedNode([5]).walk()
    assert [each.authority for each in batches[0].transactions[0].transfers] == [PAYER.authority]


@pytest.mark.parametrize("page", [1, 2, 50])
async def test_a_walk_ends_above_its_mark(page: int) -> None:
    mark = HistoryPosition(signature=str(signature(3)), slot=6)
    batches = await PlayedNode([4, 6, 6, 7, 9, 9], page=page).walk(until=mark)
    assert slots_of(batches) == [9, 9, 7]
    assert batches[-1].above_slot == 6


@pytest.mark.parametrize("slots", [[], [1, 2], [8, 9]])
async def test_a_mark_that_the_chain_does_not_have_is_refused(slots: list[int]) -> None:
    with pytest.raises(CheckpointForeign):
        await PlayedNode(slots).walk(until=HistoryPosition(signature=str(signature(200)), slot=5))


async def test_a_walk_goes_on_from_where_it_was_cut_off() -> None:
    node = PlayedNode([1, 2, 3, 4, 5])
    assert slots_of(await node.walk(up_to=2, before=str(signature(3)))) == [2, 1]
    assert str(signature(5)) not in node.asked


async def test_a_walk_goes_on_from_the_top_when_the_node_does_not_know_where_it_was() -> None:
    assert slots_of(await PlayedNode([1, 2, 3, 4, 5]).walk(up_to=2, before=str(signature(99)))) == [2, 1]


async def test_a_node_that_limits_is_asked_again_and_then_given_up() -> None:
    assert slots_of(await PlayedNode([1, 2], faults=5).walk()) == [2, 1]
    with pytest.raises(ChainUnavailable):
        await PlayedNode([1, 2], faults=6).walk()
