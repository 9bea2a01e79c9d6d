"""Which of the waiting requests may start now, and what the others wait for. Pure.

Rules, in the order in which they are checked:

- A slot must be free, and **a seller may hold fewer slots than are free**: of 8 slots a seller that hangs takes 4, a
  second one 2, a third 1, and one is left for whoever answers (the dynamic threshold of shared buffers, Choudhury and
  Hahne 1998). Requests that are held hold no slot.
- The seller's breaker lets it through: all while closed, a single probe while half-open.
- While the RPC's breaker is not closed, what is known to cost money waits. What is free goes on, and so does what has
  no known price yet.
- It fits what is spendable, less what the requests with a slot may cost. A known price counts; of an unknown one the
  request's maximum, or all that is left if that is less, alone. Without either the ledger's reservation is the guard.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from autopay.domain.agent.spec import Rules
from autopay.domain.agent.state.breakers import Breakers, seller_of
from autopay.domain.agent.state.money import EndpointPrices
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
class ExpectedCost:
    """What a request may cost: `amount` when the price is known (0 free), else `at_most` if the request says so."""

    currency: Currency
    amount: int | None
    at_most: int | None = None

    @property
    def expected(self) -> int:
        """What is set aside for it while it has a slot."""
        return self.amount if self.amount is not None else self.at_most or 0


@dataclass
class SchedulingContext:
    """All that decides which requests may start: `evaluate` says it for each.

    `spendable` is what each currency has, without what the requests with a slot may cost; None before it was read.
    """

    rules: Rules
    now: datetime
    prices: EndpointPrices
    breakers: Breakers
    spendable: dict[Currency, int | None]
    below_threshold: tuple[Currency, ...]
    with_slot: list[QueuedRequest]
    slots: Counter[str] = field(init=False)
    committed: Counter[Currency] = field(init=False)

    def __post_init__(self) -> None:
        self.slots, self.committed = Counter(), Counter()
        taken, self.with_slot = self.with_slot, []
        for request in taken:
            self.take_slot(request)

    def take_slot(self, request: QueuedRequest) -> None:
        """The request holds a slot, and what it may cost is set aside: what is evaluated after it finds less."""
        self.with_slot.append(request)
        self.slots[seller_of(request.url)] += 1
        cost = self.cost(request)
        self.committed[cost.currency] += cost.expected

    def evaluate(self, waiting: Sequence[QueuedRequest]) -> Iterator[tuple[QueuedRequest, BlockedBy | None]]:
        """Each waiting request with what keeps it from starting; None for one that may.

        Unless `buy_what_fits`, what does not fit keeps all behind it in its currency waiting, so that money
        that comes in reaches it.
        """
        blocked: set[Currency] = set()
        for request in waiting:
            cost = self.cost(request)
            blocked_by = self._blocked_by(request, cost)
            if blocked_by is None and cost.amount != 0 and cost.currency in blocked:
                blocked_by = BlockedBy.MONEY
            if blocked_by is BlockedBy.MONEY and cost.amount is not None and not self.rules.buy_what_fits:
                blocked.add(cost.currency)
            yield request, blocked_by

    def _blocked_by(self, request: QueuedRequest, cost: ExpectedCost) -> BlockedBy | None:
        free = self.rules.max_in_flight - len(self.with_slot)
        seller = seller_of(request.url)
        if free <= 0:
            return BlockedBy.SLOT
        if self.slots[seller] >= free:
            return BlockedBy.SELLER_SLOTS
        if not self.breakers.seller_allows_request(seller, self.now):
            return BlockedBy.SELLER_DOWN
        if self.breakers.rpc.until is not None and cost.amount:
            return BlockedBy.CHAIN_DOWN
        return None if self._can_afford(cost) else BlockedBy.MONEY

    def cost(self, request: QueuedRequest) -> ExpectedCost:
        """What is known of its price. One that may pay in any currency counts in the one with the most left."""
        price = self.prices.of(request.method, request.url)
        currency = (
            request.currency or (price.currency if price is not None else None) or self._currency_with_most_left()
        )
        maximum = request.max_price_atomic
        if price is None:
            return ExpectedCost(currency, None, maximum)
        return ExpectedCost(currency, price.amount_atomic if maximum is None else min(price.amount_atomic, maximum))

    def _currency_with_most_left(self) -> Currency:
        return max(self.spendable, key=lambda each: (each not in self.below_threshold, self.spendable[each] or 0))

    def _can_afford(self, cost: ExpectedCost) -> bool:
        if cost.amount == 0:
            return True
        if cost.currency in self.below_threshold or cost.currency not in self.spendable:
            return False
        total = self.spendable[cost.currency]
        if total is None:
            return cost.amount is None
        left = total - self.committed[cost.currency]
        if cost.expected <= left:
            return left > 0
        return cost.amount is None and left > 0 and not self.committed[cost.currency]
