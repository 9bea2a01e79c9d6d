"""The chain of events in the ledger, its anchors, and the fence of a restored ledger."""
