"""The ledger's tables, as SQLAlchemy models."""
