"""A backend in memory for the client of the MCP server, and the client that works by it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from autopay.client import async_client
from autopay.client.async_client import AsyncClient
from autopay.client.errors import AutopayError, NotDecided
from autopay.client.requests.listener import NOBODY, Listener
from autopay.client.values import Ask, Budget, CurrencyBudget, PaymentSummary, Purchase, Quote, units
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.policy.policy import Terms
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.request import Method, RequestError, RequestStatus

AGENT = "research"
PAYEE = "8NMxKeTsY7xHZGqk7wQ6v2wJzN5s3p4rT9uVbCdEfGhJ"
PRICE = 5_000


@dataclass
class FakeBackend:
    """Sells one text for 0.005 USDC, once for each id; asks a person first when `asks` is set.

    `asked` are the calls of `buy`, `paid` the ids that were paid, `decided` the decisions as they came.
    """

    content: bytes = b'{"fees": 5000}'
    content_type: str | None = "application/json"
    asks: bool = False
    ends_as: RequestStatus = RequestStatus.DELIVERED
    error: RequestError | None = None
    fails_with: AutopayError | None = None
    says: tuple[str, ...] = ()
    asked: list[Ask] = field(default_factory=list)
    paid: dict[str, str] = field(default_factory=dict)
    decided: list[tuple[str, bool]] = field(default_factory=list)
    waiting: dict[str, ApprovalRecord] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    approved: set[str] = field(default_factory=set)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def buy(self, agent: str, ask: Ask, listener: Listener = NOBODY) -> Purchase:
        if self.fails_with is not None:
            raise self.fails_with
        self.asked.append(ask)
        for text in self.says:
            assert listener.on_progress is not None
            listener.on_progress(text)
        if self.asks and ask.id not in self.denied | self.approved | set(self.paid):
            waiting = self.waiting.setdefault(ask.id, self.question(ask.id, ask.url, ask.method))
            assert listener.on_approval is not None
            listener.on_approval(waiting)
        if ask.id not in self.denied and self.ends_as in (RequestStatus.DELIVERED, RequestStatus.UNDELIVERED):
            self.paid.setdefault(ask.id, f"tx{next(self._numbers)}")
        return self.purchase(ask.id)

    def question(self, request_id: str, url: str = "https://api.test/x", method: Method = "GET") -> ApprovalRecord:
        """The question about one more request, or about new terms of the same."""
        number, now = next(self._numbers), datetime.now(UTC)
        terms = Terms(
            request_id=request_id,
            method=method,
            url=url,
            body_hash=None,
            network=Network.DEVNET,
            currency=Currency.USDC,
            mint="m",
            program="p",
            pay_to=PAYEE,
            amount_atomic=PRICE + number,
        )
        return ApprovalRecord(
            approval_id=UUID(int=number),
            agent=AGENT,
            request_key=request_id,
            terms=terms,
            terms_hash=terms.hash(),
            why="up to 0.003 USD needs no approval",
            status="PENDING",
            created_at=now,
            expires_at=now + timedelta(hours=1),
            decided_at=None,
        )

    def purchase(self, request_id: str) -> Purchase:
        """How the request of that id stands."""
        denied = request_id in self.denied
        status = RequestStatus.REFUSED if denied else self.ends_as
        has_content = status in (RequestStatus.DELIVERED, RequestStatus.FREE)
        denial = RequestError(type="approval_denied", message="a person denied this payment")
        return Purchase(
            id=request_id,
            agent=AGENT,
            status=status,
            http_status=200,
            content=self.content if has_content else None,
            content_type=self.content_type if has_content else None,
            price=units(PRICE),
            currency=Currency.USDC,
            pay_to=PAYEE,
            transaction=self.paid.get(request_id),
            workflow_id=f"pay/{AGENT}/{request_id}",
            error=denial if denied else self.error,
        )

    async def quote(self, agent: str, ask: Ask) -> Quote:
        self.asked.append(ask)
        return Quote(
            url=ask.url, http_status=402, price=units(PRICE), currency=Currency.USDC, pay_to=PAYEE, spendable=Decimal(1)
        )

    async def result(self, agent: str, request_id: str, wait_s: float) -> Purchase | None:
        if request_id in self.waiting:
            return self.purchase(request_id).model_copy(update={"status": RequestStatus.WAITING, "content": None})
        known = {*self.paid, *self.denied, *(ask.id for ask in self.asked)}
        return self.purchase(request_id) if request_id in known else None

    async def purchases(
        self, agent: str, since: datetime | None, host: str | None, limit: int
    ) -> Sequence[PaymentSummary]:
        return [
            PaymentSummary(
                id=each,
                agent=agent,
                at=datetime.now(UTC),
                url=f"https://{host or 'api.test'}/x",
                status="VERIFIED",
                delivered=True,
                price=units(PRICE),
                currency=Currency.USDC,
                pay_to=PAYEE,
                transaction=transaction,
            )
            for each, transaction in self.paid.items()
        ][:limit]

    async def budget(self, agent: str) -> Budget:
        spendable = CurrencyBudget(
            currency=Currency.USDC,
            spendable=Decimal("0.5"),
            limit="balance",
            problem=None,
            spent=Decimal(0),
            spent_today=Decimal(0),
        )
        return Budget(
            agent=agent, phase="full", currencies=(spendable,), per_request=None, left_today=None, waiting=0, asked=0
        )

    async def agents(self) -> Sequence[Budget]:
        return [(await self.budget(name)).model_copy(update={"state": "running"}) for name in (AGENT, "other")]

    async def approvals(self, agent: str) -> Sequence[ApprovalRecord]:
        return list(self.waiting.values())

    async def decide(self, approval_id: str, *, approve: bool) -> bool:
        self.decided.append((approval_id, approve))
        for request_id, each in list(self.waiting.items()):
            if str(each.approval_id) == approval_id:
                del self.waiting[request_id]
                (self.approved if approve else self.denied).add(request_id)
                return True
        raise NotDecided("nobody waits for that")

    async def pause(self, agent: str, reason: str | None) -> None:
        raise AssertionError("no tool may pause an agent")

    async def resume(self, agent: str) -> None:
        raise AssertionError("no tool may resume an agent")

    async def cancel(self, agent: str, request_id: str) -> None:
        raise AssertionError("no tool may cancel a request")

    async def close(self) -> None:
        pass


def client_of(backend: FakeBackend) -> AsyncClient:
    """The client of the agent, which works by that backend."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(async_client, "open_backend", lambda *_, **__: backend)
        return AsyncClient(AGENT)
