"""The embedded stack: real PostgreSQL, Temporal, Solana chain, facilitator and paid APIs on this machine."""
