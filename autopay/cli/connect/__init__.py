"""What commands connect to, by their settings: the ledger, Temporal and its agents, the chain, an embedded stack."""
