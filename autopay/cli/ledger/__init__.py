"""The group `ledger`: what was paid, and the proof of it."""
