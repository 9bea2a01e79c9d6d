"""What people read from the ledger."""
