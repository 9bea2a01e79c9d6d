"""The PostgreSQL ledger: `open_ledger(url)` gives a `PostgresLedger`, which implements `ports.Ledger`."""

from autopay.adapters.postgres.ledger import PostgresLedger, open_ledger

__all__ = ["PostgresLedger", "open_ledger"]
