"""The facts that an agent carries from run to run, and how it stands. Pure; what it decides is in agent_queue.py.

All of it is bounded: by the watches, the queue's limit and the bounds of prices.py and sellers.py.
"""

from datetime import datetime, timedelta
from typing import Self

from pydantic import BaseModel, Field

from autopay.domain.agent.breaker import Breaker
from autopay.domain.agent.prices import Prices
from autopay.domain.agent.purse import Purse
from autopay.domain.agent.sellers import Sellers
from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.status import AgentState, HeldRequest
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.agent.watches import Watching
from autopay.domain.money import Currency
from autopay.domain.payment.notice import Notice
from autopay.domain.phase import Phase
from autopay.domain.request import RequestStatus

MOST_SAID = 200
"""Characters of a message that is kept."""


class AgentFacts(BaseModel):
    """The whole state of an agent between two decisions.

    `pause` is why a person paused it, `short` why it paused itself (money or session); either stops new requests.
    `trouble` is the fault of its own steps that it waits out until `retry_at`. `in_flight` has begun and is not final
    on chain; of these `answered` has its content, and `held` waits before anything is signed. `cancels` and `unheard`
    came in while the agent could not act on them yet.
    """

    spec: AgentSpec
    pause: str | None = None
    short: str | None = None
    stopping: bool = False
    trouble: str | None = None
    retry_at: datetime | None = None
    retries: int = 0
    watching: Watching = Field(default_factory=Watching)
    next_balance: datetime | None = None
    next_catch_up: datetime | None = None
    purse: Purse = Field(default_factory=Purse)
    prices: Prices = Field(default_factory=Prices)
    sellers: Sellers = Field(default_factory=Sellers)
    rpc: Breaker = Field(default_factory=Breaker)
    queue: list[QueuedRequest] = []
    in_flight: dict[str, QueuedRequest] = {}
    answered: set[str] = set()
    held: dict[str, HeldRequest] = {}
    cancels: list[str] = []
    unheard: list[Notice] = []
    payments: int = 0
    demo_from: int = 0
    counts: dict[RequestStatus, int] = {}
    spent_atomic: dict[Currency, int] = {}
    last: list[Notice] = []

    # How it stands

    @property
    def state(self) -> AgentState:
        """In one word."""
        if self.stopping:
            return AgentState.STOPPING
        return AgentState.PAUSED if self.pause is not None or self.short is not None else AgentState.RUNNING

    def demo_is_over(self) -> bool:
        """A DEMO has made its payments, or has begun as many."""
        begun = self.payments - self.demo_from + len(self.in_flight.keys() - self.answered)
        return self.spec.phase == Phase.DEMO and begun >= self.spec.rules.demo_payments

    def is_finished(self) -> bool:
        """Nothing more may start, and nothing is in flight. Stopped, it leaves what is held to itself."""
        if self.stopping:
            return not self.in_flight.keys() - self.held.keys()
        return not self.in_flight and self.demo_is_over()

    def slots(self) -> list[str]:
        """Requests that hold a slot: begun, not yet answered, not held."""
        return [key for key in self.in_flight if key not in self.answered and key not in self.held]

    def knows(self, request_id: str) -> bool:
        """Whether the request waits or is under way."""
        return request_id in self.in_flight or any(request.request_id == request_id for request in self.queue)

    def is_full(self) -> bool:
        """Whether no more requests are taken: as many as the limit wait, in the queue or held."""
        return len(self.queue) + len(self.held) >= self.spec.rules.queue_limit

    # Its watches

    def busy_watches(self) -> set[str | None]:
        """Watches with a request that waits or has not been answered; one whose money settles is free again."""
        waiting = [request for key, request in self.in_flight.items() if key not in self.answered]
        return {request.watch for request in [*self.queue, *waiting]}

    def watches_without_money(self) -> list[str]:
        """Watches that want one currency only, of which there is too little: they wait, the others go on."""
        short = self.purse.used_up(self.spec.rules)
        return [watch.name for watch in self.spec.watches if watch.currency in short]

    def idle_watches(self) -> list[Watch]:
        """Watches that could be bought when they are due."""
        busy = self.busy_watches() | set(self.watches_without_money())
        return [watch for watch in self.spec.watches if watch.name not in busy]

    # Rules and phases

    def change_rules(self, rules: Rules) -> None:
        """The agent's own limits, from now on."""
        self.spec = self.spec.model_copy(update={"rules": rules})
        self.short = self.purse.shortage(rules)
        self.next_balance = None

    def change_phase(self, phase: Phase) -> None:
        """How much it may do without a person; a DEMO counts its payments from here."""
        self.spec = self.spec.model_copy(update={"phase": phase})
        self.demo_from = self.payments

    # Faults of its own steps

    def stumbled(self, trouble: str, now: datetime) -> None:
        """A step of the agent's own failed: it is tried again after 2 s, doubling up to 5 minutes."""
        self.trouble = trouble[:MOST_SAID]
        self.retry_at = now + min(timedelta(seconds=2) * 2 ** min(self.retries, 10), timedelta(minutes=5))
        self.retries = min(self.retries + 1, 10)

    def stands(self) -> None:
        """All steps worked."""
        self.trouble, self.retry_at, self.retries = None, None, 0

    def carried(self) -> Self:
        """What the next run begins with: without what it reads from the ledger, to stay far below 2 MB."""
        bare = {key: request.model_copy(update={"url": ""}) for key, request in self.in_flight.items()}
        return self.model_copy(update={"queue": [], "in_flight": bare})
