"""The Solana node: reading the chain, building payments, and what owners sign."""
