"""Keeps the chain in SQLite: blocks, accounts, transactions and which addresses each transaction names.

Written ahead and committed before the caller is answered, so that what was acknowledged survives a killed process
(`synchronous=NORMAL`: a power cut may take the last moments). One process at a time holds the file.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey

from localnet.chain.blocks import KEPT_BLOCKS, Block

_SCHEMA = """
CREATE TABLE IF NOT EXISTS blocks (
    height INTEGER PRIMARY KEY, slot INTEGER NOT NULL UNIQUE, blockhash BLOB NOT NULL, time INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS accounts (
    address BLOB PRIMARY KEY, lamports INTEGER NOT NULL, owner BLOB NOT NULL, executable INTEGER NOT NULL,
    data BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transactions (
    number INTEGER PRIMARY KEY, signature TEXT NOT NULL UNIQUE, message_hash BLOB NOT NULL UNIQUE,
    slot INTEGER NOT NULL, time INTEGER NOT NULL, wire BLOB NOT NULL, error TEXT, memo TEXT, meta TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS mentions (
    address BLOB NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (address, number)
) WITHOUT ROWID;
"""
_COLUMNS = "signature, message_hash, slot, time, wire, error, memo, meta, number"


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction in a block; `error` and `meta` are JSON texts, `number` is its place in the chain's order."""

    signature: str
    message_hash: bytes
    slot: int
    time: int
    wire: bytes
    error: str | None
    memo: str | None
    meta: str
    number: int = 0


class Store:
    """One chain's file. Not for several threads at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=1000"):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error:  # another process holds the file
            self.close()
            raise

    def close(self) -> None:
        """Release the file."""
        self._db.close()

    def blocks(self) -> list[Block]:
        """The blocks that are kept, oldest first; empty before genesis."""
        rows = self._db.execute("SELECT slot, height, blockhash, time FROM blocks ORDER BY height")
        return [Block(slot, height, Hash(blockhash), time) for slot, height, blockhash, time in rows]

    def accounts(self) -> Iterator[tuple[Pubkey, Account]]:
        """Every account that transactions or genesis wrote and that still exists; programs after their data."""
        rows = self._db.execute("SELECT address, lamports, data, owner, executable FROM accounts ORDER BY executable")
        for address, lamports, data, owner, executable in rows:
            yield Pubkey(address), Account(lamports, data, Pubkey(owner), bool(executable))

    def begin_chain(self, blocks: Iterable[Block], accounts: Mapping[Pubkey, Account]) -> None:
        """Write the genesis."""
        with self._commit():
            for block in blocks:
                self._insert_block(block)
            self._write_accounts(accounts)

    def add_block(self, block: Block) -> None:
        """Append a block; older ones than the window are forgotten now and then."""
        with self._commit():
            self._insert_block(block)
            if block.height % KEPT_BLOCKS == 0:
                self._db.execute("DELETE FROM blocks WHERE height <= ?", (block.height - KEPT_BLOCKS,))

    def add_transaction(
        self, landed: StoredTransaction, mentioned: Iterable[Pubkey], accounts: Mapping[Pubkey, Account | None]
    ) -> None:
        """Append a transaction together with the accounts that it changed."""
        row = (
            landed.signature, landed.message_hash, landed.slot, landed.time, landed.wire,
            landed.error, landed.memo, landed.meta,
        )  # fmt: skip
        with self._commit():
            cursor = self._db.execute(
                "INSERT INTO transactions (signature, message_hash, slot, time, wire, error, memo, meta)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            mentions = [(bytes(address), cursor.lastrowid) for address in mentioned]
            self._db.executemany("INSERT OR IGNORE INTO mentions VALUES (?, ?)", mentions)
            self._write_accounts(accounts)

    def transaction(self, signature: str) -> StoredTransaction | None:
        """The transaction with this first signature."""
        query = f"SELECT {_COLUMNS} FROM transactions WHERE signature = ?"  # noqa: S608 (a constant)
        row = self._db.execute(query, (signature,)).fetchone()
        return StoredTransaction(*row) if row else None

    def has_message(self, message_hash: bytes) -> bool:
        """Whether a transaction with this message has landed, whoever's signatures it carried."""
        query = "SELECT 1 FROM transactions WHERE message_hash = ?"
        return self._db.execute(query, (message_hash,)).fetchone() is not None

    def mentions(
        self, address: Pubkey, after: int, before: int, until_slot: int, limit: int
    ) -> list[StoredTransaction]:
        """Transactions that name an address, newest first, with a number between `after` and `before`."""
        columns = ", ".join(f"t.{column}" for column in _COLUMNS.split(", "))
        query = (
            f"SELECT {columns} FROM mentions m JOIN transactions t ON t.number = m.number"  # noqa: S608 (constants)
            " WHERE m.address = ? AND m.number > ? AND m.number < ? AND t.slot <= ?"
            " ORDER BY m.number DESC LIMIT ?"
        )
        rows = self._db.execute(query, (bytes(address), after, before, until_slot, limit))
        return [StoredTransaction(*row) for row in rows]

    def transaction_count(self, until_slot: int) -> int:
        """How many transactions landed up to a slot."""
        query = "SELECT number FROM transactions WHERE slot <= ? ORDER BY number DESC LIMIT 1"
        row = self._db.execute(query, (until_slot,)).fetchone()
        return int(row[0]) if row else 0

    def _commit(self) -> "_Transaction":
        return _Transaction(self._db)

    def _insert_block(self, block: Block) -> None:
        row = (block.height, block.slot, bytes(block.blockhash), block.time)
        self._db.execute("INSERT INTO blocks (height, slot, blockhash, time) VALUES (?, ?, ?, ?)", row)

    def _write_accounts(self, accounts: Mapping[Pubkey, Account | None]) -> None:
        gone = [(bytes(address),) for address, account in accounts.items() if account is None]
        rows = [
            (bytes(address), account.lamports, bytes(account.owner), account.executable, account.data)
            for address, account in accounts.items()
            if account is not None
        ]
        self._db.executemany("DELETE FROM accounts WHERE address = ?", gone)
        self._db.executemany("INSERT OR REPLACE INTO accounts VALUES (?, ?, ?, ?, ?)", rows)


class _Transaction:
    """All or nothing; durable when the block ends."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
