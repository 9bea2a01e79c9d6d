"""All agents at once: what each spent, may still spend, and has waiting."""

from autopay.adapters.postgres import PostgresLedger
from autopay.domain.agent.records import AgentSummary, SpendableRecord
from autopay.domain.agent.spending import spending
from autopay.domain.money import Currency
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestStatus
from tests.ledger.books import PRICE, Book, open_book, spec_of


def spendable(agent: AgentSummary) -> tuple[SpendableRecord, ...]:
    """What it can spend, by the ledger alone."""
    return spending(agent.sessions, agent.readings, agent.policy, agent.at)


async def test_agents_are_told_with_what_is_left_and_what_waits(ledger: PostgresLedger) -> None:
    book = await open_book(ledger, "buyer", allowance=10 * PRICE, tx_limit=3)
    await ledger.agents.create("idle")
    attempt = await book.recorded()
    await book.settled(attempt)
    await book.recorded()
    for name in ("one", "two"):
        await ledger.requests.accept("buyer", spec_of(name), 1.0, 10)
    await book.end(book.key("two"), RequestStatus.REFUSED)
    buyer, idle = await ledger.agents.summaries()
    assert (buyer.spent_today_atomic, buyer.queued, buyer.asked) == ({Currency.USDC: PRICE}, 1, 0)
    (record,) = spendable(buyer)
    assert (record.spendable_atomic, record.problem, record.needed_atomic) == (8 * PRICE, None, None)
    assert (spendable(idle), idle.queued, idle.spent_today_atomic) == ((), 0, {})

    await book.recorded()
    (record,) = spendable(await ledger.agents.summary("buyer"))
    assert (record.spendable_atomic, record.problem) == (0, "session's 3 payments are made")


async def test_the_newest_reading_says_what_is_needed_and_whether_it_pauses(ledger: PostgresLedger) -> None:
    await open_book(ledger, "buyer", allowance=1_000_000)
    for balance, status in ((900_000, "SUFFICIENT"), (4_000, "PAUSED")):
        for currency in Currency:
            await ledger.agents.record_balance("buyer", currency, balance, 10_000, status)  # type: ignore[arg-type]
    (buyer,) = await ledger.agents.summaries()
    records = {record.currency: record for record in spendable(buyer)}
    assert (records[Currency.USDC].spendable_atomic, records[Currency.USDC].needed_atomic) == (4_000, 10_000)
    assert (records[Currency.CASH].spendable_atomic, records[Currency.CASH].problem) == (0, "no session")
    assert all(record.pauses for record in spendable(buyer))


async def test_other_terms_are_named(book: Book) -> None:
    await book.accepted("one")
    for changes, says in (
        ({"max_price_atomic": 5}, "another maximum price (none, not 0.000005)"),
        (
            {"currency": Currency.CASH, "method": "POST"},
            "another method (GET, not POST) and another currency (any, not CASH)",
        ),
        ({"body_hash": "0" * 64}, "another body"),
    ):
        refused = await book.ledger.requests.accept(book.agent, spec_of("one", **changes), 1.0, 10)
        assert isinstance(refused, Refused)
        assert refused.message == f"request id 'one' was used before with {says}"
