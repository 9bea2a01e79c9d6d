"""Short words for payments that differ in what policy looks at: host, payee, price, currency."""

from dataclasses import dataclass, replace
from uuid import UUID

import psycopg

from autopay.domain.money import Currency
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Awaiting, Decision, Policy
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.refusal import RefusalReason, Refused
from tests.ledger.books import PRICE, AnyBook, Book, L, offer_of, signed_payment, spec_of
from tests.ledger.stores import AnyLedger

FEED = "https://market.test/api/market-feed"


@dataclass(frozen=True)
class Shop:
    """Where a payment goes, and how much it is."""

    url: str = FEED
    pay_to: str = "seller"
    amount: int = PRICE
    currency: Currency = Currency.USDC

    def at(self, **changes: object) -> "Shop":
        """The same, but for this."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def signed(self) -> SignedPayment:
        """A payment there, as it was signed."""
        offer = offer_of(self.amount).model_copy(update={"pay_to": self.pay_to, "currency": self.currency})
        return signed_payment(offer=offer)


SHOP = Shop()


async def accepted(book: AnyBook, shop: Shop = SHOP, method: str = "GET") -> str:
    """A request for what the shop sells; its key."""
    name = f"request-{next(book.numbers)}"
    refused = await book.ledger.requests.accept(book.agent, spec_of(name, url=shop.url, method=method), 1.0, 10_000)
    assert refused is None
    await book.ledger.requests.begin(book.key(name))
    return book.key(name)


async def reserve(
    book: AnyBook, shop: Shop = SHOP, key: str = "", number: int = 1, ledger: AnyLedger | None = None
) -> RecordedAttempt | PaidBefore | Awaiting | Refused:
    """Record an attempt at the shop, or be asked, or be refused."""
    request_key = key or await accepted(book, shop)
    return await (ledger or book.ledger).payments.record_attempt(request_key, number, book.session_id, shop.signed())


async def paid(book: AnyBook, shop: Shop = SHOP, key: str = "", number: int = 1) -> RecordedAttempt:
    """An attempt that was recorded."""
    found = await reserve(book, shop, key, number)
    assert isinstance(found, RecordedAttempt), found
    return found


async def asked(book: AnyBook, shop: Shop = SHOP, key: str = "") -> Awaiting:
    """A person has been asked."""
    found = await reserve(book, shop, key)
    assert isinstance(found, Awaiting), found
    return found


async def refusal(book: AnyBook, shop: Shop = SHOP, key: str = "", number: int = 1) -> RefusalReason:
    """Why it may not be paid."""
    found = await reserve(book, shop, key, number)
    assert isinstance(found, Refused), found
    return found.reason


async def set_limits(book: AnyBook, **limits: object) -> None:
    """The agent's own policy, whose prices may jump unless it says otherwise."""
    await book.ledger.policies.set(Policy.model_validate({"price_factor": None} | limits), book.agent)


async def interactive(book: Book[L]) -> Book[L]:
    """The agent asks a person about everything."""
    await book.ledger.agents.set_phase(book.agent, Phase.INTERACTIVE)
    return book


async def decide(book: AnyBook, question: Awaiting, *, approve: bool) -> RefusalReason | None:
    """A person's word; why it does not count, if so."""
    word = Decision(approval_id=question.approval_id, terms_hash=question.terms_hash, approve=approve)
    refused = await book.ledger.policies.decide(word)
    return refused.reason if refused is not None else None


async def approval(book: AnyBook, approval_id: UUID) -> ApprovalRecord:
    """The approval as it stands."""
    rows = await book.ledger.policies.approvals(book.agent, undecided=False)
    (found,) = (row for row in rows if row.approval_id == approval_id)
    return found


def as_owner_of_the_database(database_url: str, table: str, change: str) -> None:
    """Change what the triggers let nobody change: the tests' way to let time pass."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in (
            f"ALTER TABLE {table} DISABLE TRIGGER USER",
            f"UPDATE {table} SET {change}",  # noqa: S608 - a test's own text
            f"ALTER TABLE {table} ENABLE TRIGGER USER",
        ):
            connection.execute(statement)
