"""Compares the ledger with the chain, and books what a restored ledger does not have."""
