"""What an agent is launched with: its watches, its rules, and their limits. Pure."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field, field_validator

from autopay.domain.money import MAX_ATOMIC, Currency
from autopay.domain.network import Network
from autopay.domain.phase import Phase
from autopay.domain.request import AGENT_NAME_PATTERN, Method, RequestSpec
from autopay.domain.text.hosts import check_url
from autopay.domain.values import StrictValue

DEMO_PAYMENTS = 3
"""Payments after which a DEMO agent stops by itself."""

MAX_WATCHES = 200
QUEUE_LIMIT = 500
MAX_QUEUE = 1000
"""A queue is read at once when a run begins: with URLs of 2 kB that many stay below Temporal's 4 MB a message."""

MAX_IN_FLIGHT = 8
"""A seller may hold as many slots as are free: alone it gets half of these, and one that hangs leaves the rest."""

HISTORY_EVENTS = 1_000
"""Events after which an agent continues as new, if Temporal does not suggest it earlier (its limit is 51,200).

Whoever changes it has to keep the old number for the runs that have begun: see `Rules.events_of_a_run`.
"""

HISTORY_EVENTS_0_2 = 10_000
"""The same in 0.2.0."""


class Watch(StrictValue):
    """Data to keep fresh: bought again whenever the last copy is older than `every_s` seconds."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}$")
    url: str = Field(min_length=8, max_length=2048)
    method: Method = "GET"
    every_s: int = Field(ge=1, le=31_536_000)
    max_price_atomic: int | None = Field(None, gt=0, le=MAX_ATOMIC)
    currency: Currency | None = None
    weight: float = Field(1.0, ge=0.001, le=1000)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        check_url(url)
        return url

    def spec(self, due: datetime) -> RequestSpec:
        """The request that keeps this watch fresh at `due`; the same due time gives the same request id."""
        stamp = due.astimezone(UTC).strftime("%Y%m%dT%H%M%S")
        return RequestSpec(
            request_id=f"{self.name}-{stamp}",
            url=self.url,
            method=self.method,
            max_price_atomic=self.max_price_atomic,
            currency=self.currency,
            watch=self.name,
        )


class Rules(StrictValue):
    """The agent's own limits.

    `thresholds` are spendable base units below which a currency counts as used up; when all do, the agent pauses
    itself. What does not fit what is spendable waits, and in its currency so does all that ranks behind it, until
    there is money. With `buy_what_fits` neither holds: whatever fits is bought, however little is left.
    `balance_every_s` is the shortest time between two readings of the balances that nothing asked for (see money.py).
    """

    thresholds: dict[Currency, Annotated[int, Field(ge=0, le=MAX_ATOMIC)]] = {
        Currency.USDC: 10_000,
        Currency.CASH: 10_000,
    }
    buy_what_fits: bool = False
    max_in_flight: int = Field(MAX_IN_FLIGHT, ge=1, le=100)
    queue_limit: int = Field(QUEUE_LIMIT, ge=1, le=MAX_QUEUE)
    demo_payments: int = Field(DEMO_PAYMENTS, ge=1, le=1000)
    balance_every_s: int = Field(30, ge=1, le=86_400)
    history_events: int = Field(HISTORY_EVENTS, ge=200, le=40_000)

    def needed(self, currency: Currency) -> int:
        """Spendable base units from which on payments in that currency are made."""
        return 1 if self.buy_what_fits else max(1, self.thresholds.get(currency, 0))

    def events_of_a_run(self, *, is_of_0_2: bool) -> int:
        """`history_events`; where rules do not say it (sent by hand, or by another program), as that release had it.

        With the number of another release, a replay would end the run at another event than its history does.
        """
        is_said = "history_events" in self.model_fields_set
        return self.history_events if is_said or not is_of_0_2 else HISTORY_EVENTS_0_2


class AgentSpec(StrictValue):
    """What an agent is launched with."""

    name: str = Field(pattern=AGENT_NAME_PATTERN)
    phase: Phase = Phase.DEMO
    network: Network = Network.DEVNET
    currencies: tuple[Currency, ...] = Field((Currency.USDC,), min_length=1)
    watches: tuple[Watch, ...] = Field((), max_length=MAX_WATCHES)
    rules: Rules = Rules()


class SavedAgent(StrictValue):
    """What the ledger keeps of an agent, so that it can be brought back: what it is to do, and a person's pause."""

    spec: AgentSpec
    pause: str | None = None


AGENT_TASK_QUEUE = "autopay"
"""The one task queue of agents and payments."""
