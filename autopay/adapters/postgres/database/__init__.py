"""The ledger's connections and transactions, and its rows as the domain's values."""
