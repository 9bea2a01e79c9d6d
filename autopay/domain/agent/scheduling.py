"""Which of the waiting requests may start now, and what the others wait for. Pure.

Rules, in the order in which they are asked:

- A slot must be free, and **a seller may hold fewer slots than are free**: of 8 slots a seller that hangs takes 4, a
  second one 2, a third 1, and one is left for whoever answers (the dynamic threshold of shared buffers, Choudhury and
  Hahne 1998). Requests that are held before signing hold no slot.
- The seller's breaker lets it through: all while closed, a single probe while half-open.
- While the chain is away (the RPC's breaker is not closed), what is known to cost money waits. What is free goes on,
  and what is unknown finds out.
- It fits what is spendable, less what the requests under way may cost. A known price counts; of an unknown one the
  request's maximum, or all that is left if that is less, alone. Without either the ledger's reservation is the guard.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from autopay.domain.agent.prices import Prices
from autopay.domain.agent.sellers import Sellers, seller_of
from autopay.domain.agent.spec import Rules
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.money import Currency


class BlockedBy(StrEnum):
    """What keeps a waiting request from starting; the value is for people."""

    SLOT = "all slots are taken"
    SELLER_SLOTS = "its seller holds as many slots as are free"
    SELLER_DOWN = "its seller does not answer"
    CHAIN_DOWN = "the chain does not answer"
    MONEY = "not enough money"


@dataclass(frozen=True)
class Cost:
    """What a request may cost: `amount` when the price is known (0 free), else `at_most` if the request says so."""

    currency: Currency
    amount: int | None
    at_most: int | None = None

    @property
    def expected(self) -> int:
        """What is set aside for it while it is under way."""
        return self.amount if self.amount is not None else self.at_most or 0


@dataclass
class SchedulingContext:
    """Everything that one decision looks at. `left` is what is spendable before what is under way; None unread."""

    rules: Rules
    now: datetime
    prices: Prices
    sellers: Sellers
    chain_is_away: bool
    left: dict[Currency, int | None]
    used_up: tuple[Currency, ...]
    under_way: Sequence[QueuedRequest]
    slots: Counter[str] = field(init=False)
    committed: Counter[Currency] = field(init=False)

    def __post_init__(self) -> None:
        self.slots = Counter(seller_of(request.url) for request in self.under_way)
        self.committed = Counter()
        for request in self.under_way:
            cost = self.cost(request)
            self.committed[cost.currency] += cost.expected

    def judged(self, queue: Sequence[QueuedRequest]) -> Iterator[tuple[QueuedRequest, BlockedBy | None]]:
        """Each waiting request with what keeps it from starting; None for one that may.

        Unless `buy_what_fits`, what does not fit keeps all behind it in its currency waiting, so that money
        that comes in reaches it.
        """
        blocked: set[Currency] = set()
        for request in queue:
            cost = self.cost(request)
            hindrance = self._hindrance(request, cost)
            if hindrance is None and cost.amount != 0 and cost.currency in blocked:
                hindrance = BlockedBy.MONEY
            if hindrance is BlockedBy.MONEY and cost.amount is not None and not self.rules.buy_what_fits:
                blocked.add(cost.currency)
            yield request, hindrance

    def _hindrance(self, request: QueuedRequest, cost: Cost) -> BlockedBy | None:
        free = self.rules.max_in_flight - len(self.under_way)
        seller = seller_of(request.url)
        if free <= 0:
            return BlockedBy.SLOT
        if self.slots[seller] >= free:
            return BlockedBy.SELLER_SLOTS
        if not self.sellers.lets_through(seller, self.now):
            return BlockedBy.SELLER_DOWN
        if self.chain_is_away and cost.amount:
            return BlockedBy.CHAIN_DOWN
        return None if self._affords(cost) else BlockedBy.MONEY

    def cost(self, request: QueuedRequest) -> Cost:
        """What is known of its price. One that may pay in any currency counts in the one with the most left."""
        price = self.prices.of(request.method, request.url)
        wanted = request.currency or (price.currency if price is not None else None) or self._roomiest()
        if price is None:
            return Cost(wanted, None, request.max_price_atomic)
        most = request.max_price_atomic
        return Cost(wanted, price.amount_atomic if most is None else min(price.amount_atomic, most))

    def _roomiest(self) -> Currency:
        return max(self.left, key=lambda each: (each not in self.used_up, self.left[each] or 0))

    def _affords(self, cost: Cost) -> bool:
        if cost.amount == 0:
            return True
        if cost.currency in self.used_up or cost.currency not in self.left:
            return False
        total = self.left[cost.currency]
        if total is None:
            return cost.amount is None
        left = total - self.committed[cost.currency]
        if cost.expected <= left:
            return left > 0
        return cost.amount is None and left > 0 and not self.committed[cost.currency]
