"""Sessions in the ledger."""
