"""`KeyChecks`: the check values of the keys that this ledger's secrets are sealed with."""

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.maintenance.reseal import COLUMNS
from autopay.adapters.postgres.tables.core import SessionRow, TransactionRow
from autopay.adapters.postgres.tables.keys import KeyCheckRow
from autopay.adapters.vault import ROOT, WHICH_KEYRING, Keyring, Vault, why_refused
from autopay.domain.errors import SecretUnreadable


class KeyChecks:
    """Which keyring belongs to this ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def refuse_or_register(self, keyring: Keyring) -> str | None:
        """Why the keyring is not this ledger's; None when it is, and then the ledger knows all of its keys.

        The first keyring that comes is taken, unless it cannot open the sessions that an older release has sealed.
        """
        mine = keyring.check_values()
        async with self._database.transaction() as db:
            known = {row.version: row.check_value for row in await db.scalars(select(KeyCheckRow))}
            refused = why_refused(known, mine)
            if refused is not None or known == mine:
                return refused
            newest = (await db.scalars(_NEWEST_SESSION)).one_or_none()
            if not known and newest is not None and not _opens(keyring, newest):
                return f"AUTOPAY_KEYRING does not open what this ledger has sealed; {WHICH_KEYRING}"
            new = [{"version": version, "check_value": check} for version, check in mine.items()]
            await db.execute(insert(KeyCheckRow).values(new).on_conflict_do_nothing())
            # Another process may have come first, with another keyring.
            known = {row.version: row.check_value for row in await db.scalars(select(KeyCheckRow))}
            return why_refused(known, mine)

    async def uses_of(self, version: int) -> dict[str, int]:
        """How many rows of the ledger could not be read any more without the key of that version, by what they are.

        Nothing is sealed with the root: payments count for it, as their memos are derived from it.
        """
        async with self._database.transaction() as db:
            return await _uses_of(db, version)

    async def forget(self, version: int) -> dict[str, int]:
        """Delete the check value of a key that is lost, unless the ledger needs the key: see `uses_of`, returned."""
        async with self._database.transaction() as db:
            uses = await _uses_of(db, version)
            if not any(uses.values()):
                await db.execute(delete(KeyCheckRow).where(KeyCheckRow.version == version))
            return uses

    async def knows(self, version: int) -> bool:
        """Whether a key of that version was ever used with this ledger."""
        async with self._database.transaction() as db:
            return await db.get(KeyCheckRow, version) is not None

    async def known(self) -> dict[int, str]:
        """The check values by version."""
        async with self._database.transaction() as db:
            return {row.version: row.check_value for row in await db.scalars(select(KeyCheckRow))}


_NEWEST_SESSION = (
    select(SessionRow).where(SessionRow.session_token.like("v%.%")).order_by(SessionRow.created_at.desc()).limit(1)
)


async def _uses_of(db: AsyncSession, version: int) -> dict[str, int]:
    if version == ROOT:
        return {"payments": await db.scalar(select(func.count()).select_from(TransactionRow)) or 0}
    counts = {each.name: select(func.count()).where(each.sealed.startswith(f"v{version}.")) for each in COLUMNS}
    return {name: await db.scalar(count) or 0 for name, count in counts.items()}


def _opens(keyring: Keyring, session: SessionRow) -> bool:
    try:
        Vault(keyring).open(session.session_token or "", purpose="session-key", row=str(session.id))
    except SecretUnreadable:
        return False
    return True
