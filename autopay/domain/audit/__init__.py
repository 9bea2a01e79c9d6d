"""The proof of the ledger: its chain of events, anchors on the Solana chain, and the check of both."""
