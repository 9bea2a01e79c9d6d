"""What became of transactions, asked for all payments of a worker at once: one call of the node a slot at most."""

import asyncio
from contextvars import Context

from autopay.domain.payment.chain import TransactionState
from autopay.domain.payment.ports import Chain

MAX_SIGNATURES = 256
"""Of one getSignatureStatuses."""


class BatchedConfirmations:
    """Implements the port `Confirmations`: who asks within a slot is answered by one question.

    Args:
        chain: the node.
        slot_ms: how long questions are gathered: the length of the chain's slots, as nothing changes sooner.
    """

    def __init__(self, chain: Chain, slot_ms: int) -> None:
        self._chain = chain
        self._gather_s = slot_ms / 1000
        self._asked: dict[str, asyncio.Future[TransactionState | None]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def of(self, signature: str) -> TransactionState | None:
        """The transaction's state at least confirmed; see the port. A fault is told to all who asked together."""
        answer = self._asked.get(signature)
        if answer is None:
            if not self._asked:
                self._begin()
            answer = self._asked[signature] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(answer)

    def _begin(self) -> None:
        # In a context of its own: it goes on for the others when the payment that began it is canceled.
        asking = asyncio.get_running_loop().create_task(self._ask(), context=Context())
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _ask(self) -> None:
        await asyncio.sleep(self._gather_s)
        asked, self._asked = self._asked, {}
        signatures = list(asked)
        for first in range(0, len(signatures), MAX_SIGNATURES):
            some = signatures[first : first + MAX_SIGNATURES]
            try:
                states = dict(zip(some, await self._chain.statuses(some), strict=True))
            except Exception as error:  # whatever it was, it is each asker's
                for each in some:
                    _answer(asked[each], error)
            else:
                for each, state in states.items():
                    _answer(asked[each], state)


def _answer(asked: asyncio.Future[TransactionState | None], answer: TransactionState | Exception | None) -> None:
    if isinstance(answer, Exception):
        asked.set_exception(answer)
        asked.exception()  # seen: who asked may have been canceled meanwhile
    else:
        asked.set_result(answer)
