"""Sessions: who may pay, from what, and until when."""

from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import OpenSession
from tests.ledger.books import PRICE, AnyBook, new_session, open_book
from tests.ledger.stores import AnyLedger


async def reason_of(ledger: AnyLedger, agent: str = "buyer") -> RefusalReason:
    refused = await ledger.sessions.current(agent, Currency.USDC)
    assert isinstance(refused, Refused)
    return refused.reason


async def test_an_active_session_tells_its_key_and_what_is_taken(book: AnyBook) -> None:
    await book.recorded()
    session = await book.ledger.sessions.current(book.agent, Currency.USDC)
    assert isinstance(session, OpenSession)
    assert (session.key.session_id, session.key.authority, session.sealed_key) == (
        book.session_id,
        "delegate",
        "sealed key",
    )
    assert (session.spent_atomic, session.payments, session.tx_limit) == (PRICE, 1, 1_000)
    assert session.key.allowance_atomic == 1_000_000


async def test_no_session_is_missing(ledger: AnyLedger) -> None:
    await ledger.agents.create("buyer")
    assert await reason_of(ledger) is RefusalReason.SESSION_MISSING


async def test_a_session_with_all_payments_made_says_so(ledger: AnyLedger) -> None:
    book = await open_book(ledger, tx_limit=1)
    await book.recorded()
    assert await reason_of(ledger) is RefusalReason.SESSION_TX_LIMIT


async def test_a_revoked_session_pays_no_more(book: AnyBook) -> None:
    assert await book.ledger.sessions.end(book.session_id)
    assert not await book.ledger.sessions.end(book.session_id)
    assert await reason_of(book.ledger) is RefusalReason.SESSION_MISSING


async def test_sessions_of_two_currencies_live_side_by_side(book: AnyBook) -> None:
    cash = await open_book(book.ledger, currency=Currency.CASH)
    sessions = [await book.ledger.sessions.current("buyer", currency) for currency in (Currency.USDC, Currency.CASH)]
    ids = [session.key.session_id for session in sessions if isinstance(session, OpenSession)]
    assert ids == [book.session_id, cash.session_id]


async def test_creating_a_session_twice_changes_nothing(book: AnyBook) -> None:
    for _ in range(2):
        await book.ledger.sessions.create(new_session(book.session_id, sealed_key="other"))
    session = await book.ledger.sessions.current("buyer", Currency.USDC)
    assert isinstance(session, OpenSession)
    assert session.sealed_key == "sealed key"


async def test_own_addresses_are_those_of_every_session_that_the_agent_ever_had(book: AnyBook) -> None:
    sessions = book.ledger.sessions
    await open_book(book.ledger, "somebody else")
    for currency, number in ((Currency.USDC, 1), (Currency.CASH, 2), (Currency.CASH, 3)):
        source, owner, key = (f"{each}-{number}" for each in ("source", "owner", "key"))
        await sessions.create(
            new_session(
                UUID(int=number), agent=book.agent, currency=currency, source_account=source, owner=owner, authority=key
            )
        )
    assert await sessions.end(UUID(int=3))
    ours = {f"{each}-{number}" for each in ("source", "owner", "key") for number in (1, 2, 3)} | {"delegate"}
    assert await sessions.own_among(book.agent, {*ours, "seller", "mint", ""}) == ours
    assert await sessions.own_among("somebody else", ours) == {"delegate"}
    assert await sessions.own_among(book.agent, ()) == frozenset()
