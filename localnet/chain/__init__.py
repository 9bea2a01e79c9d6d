"""A Solana chain in one process: LiteSVM executes, SQLite keeps, JSON-RPC answers.

It stands in for devnet. What differs from a cluster is listed in `localnet.chain.bank` (execution) and
`localnet.chain.blocks` (time).
"""
