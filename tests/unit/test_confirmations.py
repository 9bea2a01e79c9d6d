"""Who asks within a slot what became of a transaction shares one question of the node, and only its own answer."""

import asyncio
from collections.abc import Sequence

import pytest

from autopay.adapters.solana.confirmations import MAX_SIGNATURES, BatchedConfirmations
from autopay.domain.errors import ChainUnavailable, NodeBehind
from autopay.domain.payment.chain import TransactionState
from tests.world.clock import now_ms, run_virtually, sleep_ms
from tests.world.node import SimNode

SLOT_MS = 400
ANSWERS_IN_MS = 100


class PlayedNode(SimNode):
    """Knows the transactions that begin with `paid`, by the number behind it; answers after a while.

    `fails_with`: instead of the answers to these questions, by their number.
    """

    def __init__(self, fails_with: dict[int, Exception] | None = None) -> None:
        self.questions: list[list[str]] = []
        self.asked_at: list[int] = []
        self._fails_with = fails_with or {}

    async def statuses(self, signatures: Sequence[str]) -> Sequence[TransactionState | None]:
        number = len(self.questions)
        self.questions.append(list(signatures))
        self.asked_at.append(now_ms())
        await sleep_ms(ANSWERS_IN_MS)
        if number in self._fails_with:
            raise self._fails_with[number]
        return [state_of(each) for each in signatures]


def state_of(signature: str) -> TransactionState | None:
    if not signature.startswith("paid"):
        return None
    return TransactionState(slot=int(signature.removeprefix("paid")), failed=False, final=True)


def test_all_who_ask_within_a_slot_share_one_question_and_have_their_own_answers() -> None:
    async def story() -> None:
        node = PlayedNode()
        confirmations = BatchedConfirmations(node, SLOT_MS)

        async def ask(signature: str, after_ms: int) -> TransactionState | None:
            await sleep_ms(after_ms)
            return await confirmations.of(signature)

        names = ["paid3", "unknown", "paid1", "paid2", "paid1"]
        found = await asyncio.gather(*(ask(name, 90 * number) for number, name in enumerate(names)))
        assert found == [state_of(each) for each in names]
        assert (node.questions, node.asked_at) == ([["paid3", "unknown", "paid1", "paid2"]], [SLOT_MS])

    run_virtually(story())


def test_who_asks_while_the_node_is_asked_is_answered_by_the_next_question() -> None:
    async def story() -> None:
        node = PlayedNode()
        confirmations = BatchedConfirmations(node, SLOT_MS)
        first = asyncio.create_task(confirmations.of("paid1"))
        await sleep_ms(SLOT_MS + ANSWERS_IN_MS / 2)
        assert len(node.questions) == 1
        assert not first.done()
        assert await confirmations.of("paid1") == await first == state_of("paid1")
        assert len(node.questions) == 2

    run_virtually(story())


def test_an_answer_is_kept_for_nobody_who_asks_later() -> None:
    async def story() -> None:
        node = PlayedNode()
        confirmations = BatchedConfirmations(node, SLOT_MS)
        for _ in range(2):
            await confirmations.of("unknown")
        assert node.questions == [["unknown"], ["unknown"]]

    run_virtually(story())


@pytest.mark.parametrize(
    ("asked", "sizes"),
    [
        pytest.param(1, [1], id="one"),
        pytest.param(MAX_SIGNATURES, [MAX_SIGNATURES], id="as-many-as-fit"),
        pytest.param(MAX_SIGNATURES + 1, [MAX_SIGNATURES, 1], id="one-more"),
        pytest.param(2 * MAX_SIGNATURES + 3, [MAX_SIGNATURES, MAX_SIGNATURES, 3], id="many"),
    ],
)
def test_no_question_has_more_signatures_than_a_node_takes(asked: int, sizes: list[int]) -> None:
    async def story() -> None:
        node = PlayedNode()
        confirmations = BatchedConfirmations(node, SLOT_MS)
        names = [f"paid{number}" for number in range(asked)]
        assert await asyncio.gather(*map(confirmations.of, names)) == [state_of(each) for each in names]
        assert [len(each) for each in node.questions] == sizes

    run_virtually(story())


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(ChainUnavailable("away"), id="away"),
        pytest.param(NodeBehind("behind"), id="behind"),
        pytest.param(ValueError("a bug"), id="a-bug"),
    ],
)
def test_a_fault_is_told_to_all_who_asked_together_and_to_nobody_later(fault: Exception) -> None:
    async def story() -> None:
        confirmations = BatchedConfirmations(PlayedNode({0: fault}), SLOT_MS)
        names = ("paid1", "paid2", "paid1")
        found = await asyncio.gather(*map(confirmations.of, names), return_exceptions=True)
        assert found == [fault] * 3
        assert await confirmations.of("paid1") == state_of("paid1")

    run_virtually(story())


def test_a_fault_of_one_question_is_not_told_to_those_of_another() -> None:
    async def story() -> None:
        node = PlayedNode({0: ChainUnavailable("away")})
        confirmations = BatchedConfirmations(node, SLOT_MS)
        names = [f"paid{number}" for number in range(MAX_SIGNATURES + 1)]
        *first, last = await asyncio.gather(*map(confirmations.of, names), return_exceptions=True)
        assert all(isinstance(each, ChainUnavailable) for each in first)
        assert last == state_of(names[-1])

    run_virtually(story())


@pytest.mark.parametrize("canceled_after_ms", [0, SLOT_MS + 1], ids=["while-gathered", "while-the-node-is-asked"])
@pytest.mark.parametrize("signature", ["paid1", "paid2"], ids=["the-same-signature", "another-signature"])
def test_who_is_canceled_takes_the_answer_from_nobody(signature: str, canceled_after_ms: int) -> None:
    async def story() -> None:
        node = PlayedNode()
        confirmations = BatchedConfirmations(node, SLOT_MS)
        began = asyncio.create_task(confirmations.of("paid1"))
        await asyncio.sleep(0)
        other = asyncio.create_task(confirmations.of(signature))
        await sleep_ms(canceled_after_ms)
        began.cancel()
        await asyncio.wait({began})
        assert began.cancelled()
        assert await other == state_of(signature)
        assert len(node.questions) == 1

    run_virtually(story())


def test_a_fault_that_nobody_waits_for_any_more_harms_nobody() -> None:
    async def story() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        confirmations = BatchedConfirmations(PlayedNode({0: ChainUnavailable("away")}), SLOT_MS)
        asking = asyncio.create_task(confirmations.of("paid1"))
        await asyncio.sleep(0)
        asking.cancel()
        await sleep_ms(2 * SLOT_MS)
        assert await confirmations.of("paid1") == state_of("paid1")
        assert complaints == []

    run_virtually(story())
