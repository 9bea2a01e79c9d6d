"""The audit of the ledger: its hash chains of events, its anchors on the Solana chain, and the checks of both."""
