"""`Tokens`: tokens of the API, and browsers that have logged in by one. Only hashes of their secrets are kept."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, and_, cast, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.tables.access import LoginRow, TokenRow
from autopay.domain.access.records import LoginRecord, TokenRecord
from autopay.domain.access.secret_text import Kind, SecretText
from autopay.domain.errors import PermanentFault
from autopay.uuid7 import uuid7

USE_NOTED_EVERY = timedelta(hours=1)
"""How exact `last_used_at` is: a write for each call would cost more than the call."""

_NO_SECRET = bytes(32)
"""Compared with where no row is found, so that it takes as long."""


class TokenExists(PermanentFault):
    """There is a token of that name already; revoke it, or choose another name."""


class Tokens:
    """Made and revoked by commands; looked up for each call."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def make(self, name: str, scopes: Sequence[str], lasts_s: int | None) -> tuple[TokenRecord, str]:
        """A new token, and its text, which nobody can read again; without `lasts_s` it does not expire.

        Raises:
            TokenExists: one of that name is not revoked.
        """
        text = SecretText.new(Kind.TOKEN, uuid7())
        end = None if lasts_s is None else func.now() + cast(timedelta(seconds=lasts_s), Interval())
        values = {"id": text.row_id, "name": name, "scopes": sorted(set(scopes)), "secret_hash": text.hash}
        making = insert(TokenRow).values(**values, expires_at=end).returning(TokenRow)
        try:
            async with self._database.transaction() as db:
                row = (await db.scalars(making)).one()
        except IntegrityError:
            raise TokenExists(name) from None
        return _token(row), text.dump()

    async def list(self) -> Sequence[TokenRecord]:
        """All tokens, the newest first."""
        async with self._database.transaction() as db:
            return [_token(row) for row in await db.scalars(select(TokenRow).order_by(TokenRow.id.desc()))]

    async def revoke(self, name: str) -> TokenRecord | None:
        """The token of that name, which nobody can use any more; None when there is none that is not revoked."""
        which = and_(TokenRow.name == name, TokenRow.revoked_at.is_(None))
        async with self._database.transaction() as db:
            row = await db.scalar(update(TokenRow).where(which).values(revoked_at=func.now()).returning(TokenRow))
            return None if row is None else _token(row)

    async def find(self, text: str) -> TokenRecord | None:
        """The token of that text; None when it is none, or is revoked or expired. Its use is noted, to the hour."""
        shown = SecretText.parse(Kind.TOKEN, text)
        if shown is None:
            return None
        async with self._database.transaction() as db:
            row = await db.scalar(select(TokenRow).where(TokenRow.id == shown.row_id, _lives()))
            if not shown.has_hash(_NO_SECRET if row is None else row.secret_hash) or row is None:
                return None
            record = _token(row)
            await _note_use(db, row)
            return record

    async def log_in(self, token_id: UUID, lasts_s: int) -> tuple[LoginRecord, str] | None:
        """A login by that token, for so long at most, and the text of its cookie; None when the token has ended."""
        text = SecretText.new(Kind.LOGIN, uuid7())
        async with self._database.transaction() as db:
            living = select(TokenRow).where(TokenRow.id == token_id, _lives()).with_for_update(read=True)
            token = await db.scalar(living)
            if token is None:
                return None
            end = func.least(func.now() + cast(timedelta(seconds=lasts_s), Interval()), token.expires_at)
            values = {"id": text.row_id, "token_id": token.id, "secret_hash": text.hash, "expires_at": end}
            row = (await db.scalars(insert(LoginRow).values(**values).returning(LoginRow))).one()
            return _login(row, token), text.dump()

    async def find_login(self, text: str) -> LoginRecord | None:
        """The login of that cookie; None when it is none, or has ended: itself, or its token."""
        shown = SecretText.parse(Kind.LOGIN, text)
        if shown is None:
            return None
        query = (
            select(LoginRow, TokenRow)
            .join(TokenRow, TokenRow.id == LoginRow.token_id)
            .where(LoginRow.id == shown.row_id, LoginRow.ended_at.is_(None), LoginRow.expires_at > func.now(), _lives())
        )
        async with self._database.transaction() as db:
            found = (await db.execute(query)).one_or_none()
            if not shown.has_hash(_NO_SECRET if found is None else found[0].secret_hash) or found is None:
                return None
            record = _login(*found)
            await _note_use(db, found[1])
            return record

    async def log_out(self, login_id: UUID) -> None:
        """The cookie opens nothing any more; again it changes nothing."""
        which = and_(LoginRow.id == login_id, LoginRow.ended_at.is_(None))
        async with self._database.transaction() as db:
            await db.execute(update(LoginRow).where(which).values(ended_at=func.now()))


def _lives() -> ColumnElement[bool]:
    in_time = or_(TokenRow.expires_at.is_(None), TokenRow.expires_at > func.now())
    return and_(TokenRow.revoked_at.is_(None), in_time)


async def _note_use(db: AsyncSession, row: TokenRow) -> None:
    """By this process's clock, which need not be the database's: it is right to the hour only."""
    if row.last_used_at is None or datetime.now(UTC) - row.last_used_at > USE_NOTED_EVERY:
        using = update(TokenRow).where(TokenRow.id == row.id).values(last_used_at=func.date_trunc("hour", func.now()))
        await db.execute(using, execution_options={"synchronize_session": False})


def _token(row: TokenRow) -> TokenRecord:
    return TokenRecord(
        token_id=row.id,
        name=row.name,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )


def _login(row: LoginRow, token: TokenRow) -> LoginRecord:
    return LoginRecord(login_id=row.id, token=_token(token), created_at=row.created_at, expires_at=row.expires_at)
