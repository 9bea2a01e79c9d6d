"""What a caller gets: a purchase, a quote, a list of payments, what an agent can spend. All of it can be JSON."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import ConfigDict, Field

from autopay.domain.agent.records import SpendLimit
from autopay.domain.money import Currency, short_units_text
from autopay.domain.network import Network
from autopay.domain.request import Method, RequestError, RequestResult, RequestStatus
from autopay.domain.values import Value

HAVE_CONTENT = frozenset({RequestStatus.DELIVERED, RequestStatus.FREE, RequestStatus.FRESH})
"""How a request ends that got what it asked for."""


class Ask(Value):
    """What is to be bought, checked and in base units; see `AsyncClient.fetch` for what a caller gives."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    id: str
    url: str
    method: Method = "GET"
    headers: dict[str, str] = {}
    content: bytes | None = None
    max_price_atomic: int | None = None
    currency: Currency | None = None
    max_age_s: int | None = None
    timeout_s: float = 120


class Receipt(Value):
    """What was paid, and where to see it: `transaction` is the settlement's signature on chain.

    All but `id`, `agent` and `status` is None when nothing was paid. `content_of` is the earlier purchase whose
    content this is (status FRESH), and `content_at` when that came. `content_complete` is False when the end of the
    content is missing.
    """

    id: str
    agent: str
    status: RequestStatus
    price: Decimal | None = None
    currency: Currency | None = None
    pay_to: str | None = None
    transaction: str | None = None
    content_of: str | None = None
    content_at: datetime | None = None
    content_complete: bool | None = None


class Purchase(Value):
    """One request for paid data: how it stands, what it cost, and its content.

    `http_status` is the seller's last answer. `content` is None until it has come, and after it was thrown away, which
    `pruned` says. `content_complete` is False when its end is missing; `content_encoding` names codings that could not
    be undone; `content_location` is where the seller says that the content is. `content_at` is when content came that
    was bought before (FRESH). `ended_before`: it had ended already, and nothing was asked now.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    id: str
    agent: str
    status: RequestStatus
    http_status: int | None = None
    content: bytes | None = Field(None, repr=False)
    content_type: str | None = None
    content_complete: bool | None = None
    content_encoding: str | None = None
    content_location: str | None = None
    content_at: datetime | None = None
    content_of: str | None = None
    pruned: str | None = None
    price: Decimal | None = None
    currency: Currency | None = None
    pay_to: str | None = None
    transaction: str | None = None
    attempts: int = 0
    workflow_id: str
    error: RequestError | None = None
    ended_before: bool = False
    terms_differ: bool = False

    @property
    def ok(self) -> bool:
        """Whether it got what it asked for."""
        return self.status in HAVE_CONTENT

    @property
    def text(self) -> str:
        """The content as text: UTF-8, what is none replaced."""
        return (self.content or b"").decode(errors="replace")

    def json_content(self) -> Any:
        """The content, read as JSON. ValueError: it is none."""
        return json.loads(self.content or b"")

    @property
    def receipt(self) -> Receipt:
        """What was paid."""
        return Receipt.model_validate(self, from_attributes=True)


class Quote(Value):
    """What a seller asks for now; nothing was paid, and nothing is reserved.

    Either `free` (the seller gives it without money), or priced, or `error` says why no agent would pay it as it is
    asked for. `spendable` is what the agent can spend in that currency now.
    """

    url: str
    http_status: int | None
    free: bool = False
    price: Decimal | None = None
    currency: Currency | None = None
    pay_to: str | None = None
    network: Network | None = None
    spendable: Decimal | None = None
    error: RequestError | None = None

    @property
    def affordable(self) -> bool:
        """Whether the agent could pay it now; its policy may still refuse or ask a person."""
        return self.free or (self.price is not None and self.spendable is not None and self.price <= self.spendable)


class PaymentSummary(Value):
    """One payment in a list; `status` is PENDING, RETRYING, SUCCESS, VERIFIED (final) or FAILED (cost nothing)."""

    id: str | None
    agent: str
    at: datetime
    url: str | None
    status: str
    delivered: bool
    price: Decimal
    currency: Currency
    pay_to: str | None
    transaction: str | None


class CurrencyBudget(Value):
    """What can be spent in one currency: the least of its limits, which `limit` names; `problem`: why nothing can."""

    currency: Currency
    spendable: Decimal
    limit: SpendLimit
    problem: str | None
    spent: Decimal
    spent_today: Decimal


class Budget(Value):
    """What an agent may spend, by the ledger. `state` is its workflow's, None where it was not asked for.

    `paused` is why a person or a shortage of money keeps it from buying. `per_request` and `left_today` are its
    policy's, None without such a limit.
    """

    agent: str
    phase: str
    state: str | None = None
    paused: str | None = None
    currencies: tuple[CurrencyBudget, ...]
    per_request: Decimal | None
    left_today: Decimal | None
    waiting: int
    """Requests in its queue."""
    asked: int
    """Requests that wait for a person."""


def purchase_of(agent: str, result: RequestResult, **more: Any) -> Purchase:
    """The purchase of that agent with that result."""
    same = result.model_dump(exclude={"request_id", "price_atomic"}, by_alias=False)
    price = None if result.price_atomic is None else units(result.price_atomic)
    return Purchase.model_validate({**same, "id": result.request_id, "agent": agent, "price": price, **more})


def units(amount_atomic: int) -> Decimal:
    """Token units of an amount, without trailing zeros: 1000 is `Decimal("0.001")`."""
    return Decimal(short_units_text(amount_atomic))
