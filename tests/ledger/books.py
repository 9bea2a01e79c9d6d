"""An agent with a session on a ledger, and payments to record in it."""

from dataclasses import dataclass, field
from itertools import count
from typing import Generic
from uuid import UUID, uuid4

from typing_extensions import TypeVar

from autopay.adapters.postgres import PostgresLedger
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment
from autopay.domain.payment.exchange import Receipt, Reply, StoredContent
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import Content, SellerAnswer, Settlement
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.policy.policy import Awaiting, Policy
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestResult, RequestSpec, RequestStatus, x402_request_id
from autopay.domain.session import NewSession
from tests.ledger.stores import AnyLedger

L = TypeVar("L", bound=AnyLedger)
Ledger_co = TypeVar("Ledger_co", bound=AnyLedger, covariant=True, default=PostgresLedger)

PRICE = 1_000
JSON_REPLY = Reply(http_status=200, content_type="application/json", body=b'{"price": 42, "a": "b"}')


def stored(content_type: str, body: bytes) -> StoredContent:
    """Content that came whole, and was decoded."""
    return StoredContent(content_type=content_type, body=body)


def spec_of(request_id: str, **changes: object) -> RequestSpec:
    """A request for the market feed."""
    return RequestSpec.model_validate(
        {"request_id": request_id, "url": "https://market.test/api/market-feed?x=1"} | changes
    )


def offer_of(amount_atomic: int = PRICE) -> Offer:
    """What a seller asks."""
    return Offer(
        version=2,
        network=Network.DEVNET,
        currency=Currency.USDC,
        mint="mint",
        amount_atomic=amount_atomic,
        pay_to="seller",
        fee_payer="facilitator",
        memo=None,
        accepted_raw="{}",
    )


def new_session(session_id: UUID, **changes: object) -> NewSession:
    """A session of the agent "buyer" for an hour and ten payments, ready to be opened."""
    values: dict[str, object] = {
        "session_id": session_id,
        "agent": "buyer",
        "currency": Currency.USDC,
        "mint": "mint",
        "source_account": "source",
        "owner": "owner",
        "authority": "delegate",
        "sealed_key": "sealed key",
        "allowance_atomic": 1_000_000,
        "tx_limit": 10,
        "duration_s": 3_600,
    }
    return NewSession.model_validate(values | changes)


def signed_payment(amount_atomic: int = PRICE, **changes: object) -> SignedPayment:
    """A payment whose bytes differ from every other."""
    values: dict[str, object] = {
        "offer": offer_of(amount_atomic),
        "program": "token program",
        "memo": uuid4().hex,
        "message_hash": uuid4().hex * 2,
        "buyer_signature": uuid4().hex,
        "blockhash": "blockhash",
        "blockhash_slot": 100,
        "last_valid_block_height": 250,
        "source_account": "source",
        "destination_account": "destination",
        "newest_prior_signature": None,
        "sealed": "sealed payment",
    }
    return SignedPayment.model_validate(values | changes)


def settlement_of(attempt: RecordedAttempt, signature: str = "", slot: int = 120) -> Settlement:
    """The transfer on chain, as recorded."""
    return Settlement(
        signature=signature or f"signature-{attempt.attempt_id}",
        slot=slot,
        payer=attempt.authority,
        destination=attempt.destination_account,
        mint=attempt.mint,
        amount_atomic=attempt.amount_atomic,
    )


@dataclass
class Book(Generic[Ledger_co]):
    """An agent, its session, and what tests do with them; on PostgreSQL unless it says otherwise."""

    ledger: Ledger_co
    agent: str
    session_id: UUID
    numbers: "count[int]" = field(default_factory=lambda: count(1))

    def key(self, request_id: str) -> str:
        """The ledger's key of the request."""
        return x402_request_id(self.agent, request_id)

    async def accepted(self, request_id: str = "") -> str:
        """A request that was accepted and begun; its key."""
        name = request_id or f"request-{next(self.numbers)}"
        assert await self.ledger.requests.accept(self.agent, spec_of(name), 1.0, 10_000) is None
        await self.ledger.requests.begin(self.key(name))
        return self.key(name)

    async def reserve(
        self, request_key: str, number: int = 1, amount: int = PRICE
    ) -> RecordedAttempt | PaidBefore | Awaiting | Refused:
        """Record an attempt, or be refused."""
        return await self.ledger.payments.record_attempt(request_key, number, self.session_id, signed_payment(amount))

    async def recorded(self, request_key: str = "", number: int = 1, amount: int = PRICE) -> RecordedAttempt:
        """An attempt that was recorded."""
        attempt = await self.reserve(request_key or await self.accepted(), number, amount)
        assert isinstance(attempt, RecordedAttempt), attempt
        return attempt.model_copy(update={"is_new": False})

    async def answered(
        self, attempt: RecordedAttempt, answer: SellerAnswer, reply: Reply = JSON_REPLY, receipt: Receipt | None = None
    ) -> None:
        """The attempt was sent, and this came back."""
        await self.ledger.payments.record_sending(attempt.attempt_id)
        with_receipt = reply.model_copy(update={"receipt": receipt})
        await self.ledger.payments.record_answer(attempt.attempt_id, with_receipt, answer)

    async def delivered(self, attempt: RecordedAttempt) -> None:
        """The attempt was sent, and the content came back."""
        await self.answered(attempt, Content(http_status=200), receipt=Receipt(success=True, transaction="claim"))

    async def settled(self, attempt: RecordedAttempt, slot: int = 120) -> Settlement:
        """The chain shows the attempt's transfer, finalized."""
        settlement = settlement_of(attempt, slot=slot)
        await self.ledger.payments.record_seen(attempt.attempt_id, settlement, final=True)
        return settlement

    async def status(self, attempt: RecordedAttempt) -> str:
        """The attempt's status in the ledger."""
        found = await self.ledger.payments.attempt(attempt.request_key, attempt.number)
        assert found is not None
        return found.status

    async def end(self, request_key: str, status: RequestStatus) -> RequestResult:
        """Close the request that way."""
        result = (await self.ledger.requests.result(request_key)).model_copy(update={"status": status})
        await self.ledger.requests.close(request_key, result)
        return result


async def open_book(
    ledger: L,
    agent: str = "buyer",
    *,
    allowance: int = 1_000_000,
    tx_limit: int = 1_000,
    duration_s: int = 3_600,
    currency: Currency = Currency.USDC,
    hosts: tuple[str, ...] = (),
) -> Book[L]:
    """An agent with an ACTIVE session, whose prices may jump."""
    await ledger.agents.create(agent)
    await ledger.policies.set(Policy(price_factor=None), agent)
    session_id = uuid4()
    await ledger.sessions.create(
        new_session(
            session_id,
            agent=agent,
            currency=currency,
            allowance_atomic=allowance,
            tx_limit=tx_limit,
            duration_s=duration_s,
            hosts=hosts,
        )
    )
    return Book(ledger, agent, session_id)


AnyBook = Book[AnyLedger]
"""On whatever store."""
