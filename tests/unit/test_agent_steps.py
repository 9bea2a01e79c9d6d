"""What an agent is told by the ledger and the chain: which of its requests ended, and what it can spend."""

from collections.abc import Sequence
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities.agent_steps import AgentSteps
from autopay.domain.agent.status import Spendable
from autopay.domain.agent.steps import BalanceQuery, InFlightQuery
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.attempt import RecordedAttempt
from autopay.domain.payment.chain import HistoryEntry, TokenAccount
from autopay.domain.payment.exchange import Receipt
from autopay.domain.payment.payment import Content
from autopay.domain.payment.steps import PaymentOrder
from autopay.domain.request import RequestStatus, payment_workflow_id
from tests.ledger.books import PRICE, Book, open_book, signed_payment, spec_of
from tests.ledger.contract.conftest import in_memory
from tests.ledger.stores import AnyLedger
from tests.world.node import SimNode

ALLOWANCE = 100 * PRICE
BUILT_AT, READ_AT = 100, 200
"""Slots: of the blockhash of what was paid, and of the reading of the account."""


class PlayedNode(SimNode):
    """The session's account, and its history."""

    def __init__(self, amount: int | None = None, history: Sequence[HistoryEntry] = ()) -> None:
        self._amount = amount
        self._history = history
        self.histories: list[tuple[str, str | None, bool]] = []

    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None:
        if self._amount is None:
            return None
        return TokenAccount(
            address=address,
            owner="owner",
            mint="mint",
            amount_atomic=self._amount,
            delegate="delegate",
            delegated_atomic=self._amount,
            slot=READ_AT,
        )

    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[HistoryEntry]:
        self.histories.append((account, until, final))
        return self._history


class PlayedServer:
    """Temporal, as far as workflows are started: those of `running` run already; `fault` is what it answers."""

    def __init__(self, *running: str, fault: Exception | None = None) -> None:
        self.started: list[tuple[str, PaymentOrder]] = []
        self._running = running
        self._fault = fault

    async def start_workflow(self, workflow: str, *, args: tuple[PaymentOrder, int], id: str, **_: Any) -> None:  # noqa: A002
        if self._fault is not None:
            raise self._fault
        if id in self._running:
            raise WorkflowAlreadyStartedError(id, workflow)
        self.started.append((workflow, args[0]))


@pytest.fixture
async def book() -> Book[AnyLedger]:
    """An agent with a session of 100 payments' worth."""
    return await open_book(in_memory().ledger, allowance=ALLOWANCE)


# Requests that have ended, and those that have not begun


async def ended_among(book: Book[AnyLedger], server: PlayedServer, *names: str) -> list[tuple[str, str]]:
    """Which requests ended, and how."""
    environment = ActivityEnvironment(client=cast("Client", server))
    steps = AgentSteps(book.ledger, PlayedNode(), Network.DEVNET)
    notices = await environment.run(steps.ended_among, InFlightQuery(agent=book.agent, request_ids=names))
    assert all(each.final for each in notices)
    return [(each.request_id, each.status) for each in notices]


async def requests(book: Book[AnyLedger]) -> None:
    """One that waits, one that has begun, one that has ended."""
    await book.ledger.requests.accept(book.agent, spec_of("waits", method="POST"), 1.0, 10)
    await book.accepted("begun")
    await book.end(await book.accepted("ended"), RequestStatus.REFUSED)


async def test_what_has_not_begun_is_started_again_and_nothing_else(book: Book[AnyLedger]) -> None:
    await requests(book)
    server = PlayedServer()
    found = await ended_among(book, server, "waits", "begun", "ended", "never")
    assert found == [("ended", RequestStatus.REFUSED), ("never", RequestStatus.FAILED)]
    ((workflow, order),) = server.started
    assert (workflow, order.request_id, order.method) == ("PaidRequest", "waits", "POST")
    assert (order.request_key, order.url) == (book.key("waits"), spec_of("waits").url)
    assert order.accepted is None, "it reads from the ledger what it is to do"


async def test_what_is_not_asked_about_is_not_started(book: Book[AnyLedger]) -> None:
    await requests(book)
    server = PlayedServer()
    assert await ended_among(book, server, "begun", "ended") == [("ended", RequestStatus.REFUSED)]
    assert server.started == []


async def test_what_runs_already_is_left_alone(book: Book[AnyLedger]) -> None:
    await requests(book)
    server = PlayedServer(payment_workflow_id(book.agent, "waits"))
    assert await ended_among(book, server, "waits", "ended") == [("ended", RequestStatus.REFUSED)]
    assert server.started == []


async def test_a_server_that_starts_nothing_holds_back_no_end_and_is_asked_again(book: Book[AnyLedger]) -> None:
    await requests(book)
    away = PlayedServer(fault=RPCError("away", RPCStatusCode.UNAVAILABLE, b""))
    assert await ended_among(book, away, "waits", "ended") == [("ended", RequestStatus.REFUSED)]
    server = PlayedServer()
    assert await ended_among(book, server, "waits") == []
    assert [order.request_id for _, order in server.started] == ["waits"]


# What can be spent


async def spendable(book: Book[AnyLedger], node: PlayedNode) -> Spendable:
    """The agent's reading of its balance."""
    query = BalanceQuery(agent=book.agent, currencies=(Currency.USDC,), needed={Currency.USDC: PRICE})
    (found,) = await AgentSteps(book.ledger, node, Network.DEVNET).balances(query)
    return found


async def claimed(book: Book[AnyLedger], amount: int, claim: str | None, prior: str | None = None) -> RecordedAttempt:
    """A payment whose seller delivers, and says that it has settled as that."""
    payment = signed_payment(amount, blockhash_slot=BUILT_AT, newest_prior_signature=prior)
    attempt = await book.ledger.payments.record_attempt(await book.accepted(), 1, book.session_id, payment)
    assert isinstance(attempt, RecordedAttempt)
    receipt = Receipt(success=True, transaction=claim) if claim else None
    await book.answered(attempt, Content(http_status=200), receipt=receipt)
    return attempt


def row(signature: str, slot: int = 150, *, failed: bool = False) -> HistoryEntry:
    """A transaction that names the account."""
    return HistoryEntry(signature=signature, slot=slot, failed=failed, memos=None)


@pytest.mark.parametrize(
    ("claims", "history", "reserved"),
    [
        pytest.param("ab", [], 3, id="none-is-shown"),
        pytest.param("ab", [row("a")], 2, id="the-first-is-shown"),
        pytest.param("ab", [row("b")], 1, id="the-second-is-shown"),
        pytest.param("ab", [row("b"), row("a")], 0, id="both-are-shown"),
        pytest.param("ab", [row("c"), row("d")], 3, id="others-are-shown"),
        pytest.param("ab", [row("a", failed=True)], 3, id="it-failed"),
        pytest.param("ab", [row("a", slot=BUILT_AT - 1)], 3, id="it-is-older-than-the-payment"),
        pytest.param("ab", [row("a", slot=BUILT_AT)], 2, id="it-is-as-old-as-the-blockhash"),
        pytest.param("ab", [row("a", slot=READ_AT)], 2, id="it-is-as-new-as-the-reading"),
        pytest.param("ab", [row("a", slot=READ_AT + 1)], 3, id="the-account-was-read-before-it"),
        pytest.param("aa", [row("a")], 2, id="two-claim-the-same"),
        pytest.param("a-", [row("a"), row("b")], 2, id="the-other-has-no-receipt"),
    ],
)
async def test_a_claimed_payment_that_the_accounts_history_shows_is_not_subtracted_twice(
    book: Book[AnyLedger], claims: str, history: list[HistoryEntry], reserved: int
) -> None:
    for amount, claim in zip((PRICE, 2 * PRICE), claims, strict=True):
        await claimed(book, amount, claim.replace("-", "") or None)
    found = await spendable(book, PlayedNode(50 * PRICE, history))
    assert found.balance_atomic == 50 * PRICE
    assert found.spendable_atomic == (50 - reserved) * PRICE


async def test_an_account_that_is_gone_has_nothing_to_spend_and_no_history_to_read(book: Book[AnyLedger]) -> None:
    await claimed(book, PRICE, "a")
    node = PlayedNode(None, [row("a")])
    assert (await spendable(book, node)).spendable_atomic == 0
    assert node.histories == []


async def test_the_history_is_read_when_there_is_a_claim_and_back_to_before_the_oldest(book: Book[AnyLedger]) -> None:
    node = PlayedNode(50 * PRICE)
    await claimed(book, PRICE, None)
    await spendable(book, node)
    assert node.histories == []
    await claimed(book, PRICE, "a", prior="before a")
    await claimed(book, PRICE, "b", prior="before b")
    await spendable(book, node)
    assert node.histories == [("source", "before a", False)]


async def test_what_the_history_shows_leaves_the_sessions_budget_as_it_is(book: Book[AnyLedger]) -> None:
    await claimed(book, 10 * PRICE, "a")
    found = await spendable(book, PlayedNode(ALLOWANCE, [row("a")]))
    assert (found.limit, found.spendable_atomic) == ("session_budget", ALLOWANCE - 10 * PRICE)
