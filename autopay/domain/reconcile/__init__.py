"""Comparing the ledger with the chain, and booking what a restored ledger has forgotten."""
