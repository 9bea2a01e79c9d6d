"""The Solana node: reading the chain, and building payments. `owner/` has what owners sign."""
