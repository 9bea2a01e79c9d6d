"""Statements that the driver executes itself: same transaction, same types, same errors."""

import asyncio
from datetime import datetime
from decimal import Decimal

import pytest
from sqlalchemy import bindparam, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, InvalidRequestError

from autopay.adapters.postgres.database.direct import change, one_row, split
from autopay.adapters.postgres.tables.core import AgentRow, SessionRow
from autopay.domain.money import Currency
from autopay.domain.session import SessionStatus
from tests.ledger.books import Book

AGENT = (AgentRow.id, AgentRow.name)
SESSION = (SessionRow.id, SessionRow.status, SessionRow.currency, SessionRow.allowance, SessionRow.scope)
BY_NAME = select(AgentRow.name, AgentRow.wallet_address).where(AgentRow.name == bindparam("name"))
MOVE = update(AgentRow).values(wallet_address=bindparam("new")).where(AgentRow.name == bindparam("of"))


async def test_a_rows_values_have_the_types_of_their_columns(book: Book) -> None:
    statement = (
        select(*AGENT, *SESSION, func.clock_timestamp().label("now"))
        .join_from(AgentRow, SessionRow, SessionRow.agent_id == AgentRow.id)
        .where(SessionRow.currency == bindparam("currency", type_=SessionRow.currency.type))
    )
    async with book.ledger.database.transaction() as db:
        found = await one_row(db, statement, {"currency": Currency.USDC})
    agent, session = split(found[:-1], AGENT, SESSION)
    assert agent.name == book.agent
    assert (session.id, session.status, session.currency) == (book.session_id, SessionStatus.ACTIVE, Currency.USDC)
    assert isinstance(session.status, SessionStatus)
    assert session.allowance == Decimal(1)
    assert isinstance(session.scope, dict)
    assert isinstance(found.now, datetime)
    assert found.now.tzinfo is not None
    assert not hasattr(session, "public_key"), "only what was selected"


async def test_there_may_be_no_row(book: Book) -> None:
    async with book.ledger.database.transaction() as db:
        assert await one_row(db, BY_NAME, {"name": "nobody"}) is None


async def test_it_sees_and_keeps_what_the_session_changed(book: Book) -> None:
    async with book.ledger.database.transaction() as db:
        row = (await db.scalars(select(AgentRow).where(AgentRow.name == book.agent))).one()
        row.wallet_address = "another"
        assert (await one_row(db, BY_NAME, {"name": book.agent})).wallet_address == "another"
        await change(db, MOVE, {"of": book.agent, "new": "a third"})
        assert await db.scalar(select(AgentRow.wallet_address).where(AgentRow.id == row.id)) == "a third"


async def test_what_it_changed_ends_with_the_transaction(book: Book) -> None:
    async def move_and_fail() -> None:
        async with book.ledger.database.transaction() as db:
            await change(db, MOVE, {"of": book.agent, "new": "another"})
            raise LookupError

    with pytest.raises(LookupError):
        await move_and_fail()
    async with book.ledger.database.transaction() as db:
        assert (await one_row(db, BY_NAME, {"name": book.agent})).wallet_address != "another"


async def test_a_constraint_is_named_by_sqlalchemys_error(book: Book) -> None:
    async with book.ledger.database.transaction() as db:
        known = (await db.scalars(select(AgentRow).where(AgentRow.name == book.agent))).one()
        twice = insert(AgentRow).values(id=known.id, name=bindparam("new"), wallet_address="w")
        with pytest.raises(IntegrityError) as caught:
            await change(db, twice, {"new": "secret-name"})
        assert "secret-name" not in str(caught.value).replace(str(caught.value.orig), "")
        await db.rollback()


async def test_a_parameter_that_is_missing_is_an_error(book: Book) -> None:
    async with book.ledger.database.transaction() as db:
        with pytest.raises(InvalidRequestError, match="name"):
            await one_row(db, BY_NAME, {})


async def test_a_statement_that_needs_sqlalchemy_each_time_is_refused(book: Book) -> None:
    async with book.ledger.database.transaction() as db:
        with pytest.raises(AssertionError, match="array"):
            await one_row(db, BY_NAME.where(AgentRow.id.in_([])), {"name": "x"})


async def test_after_a_cancel_the_next_transaction_has_another_connection(book: Book) -> None:
    waiting = select(func.pg_sleep(bindparam("seconds")))
    server = text("SELECT pg_backend_pid()")

    async def wait() -> None:
        async with book.ledger.database.transaction() as db:
            pids.append(await db.scalar(server))
            begun.set()
            await one_row(db, waiting, {"seconds": 60})

    pids: list[int | None] = []
    begun = asyncio.Event()
    task = asyncio.create_task(wait())
    await begun.wait()
    await asyncio.sleep(0.05)  # until the server has the statement
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with book.ledger.database.transaction() as db:
        assert await db.scalar(server) != pids[0]
