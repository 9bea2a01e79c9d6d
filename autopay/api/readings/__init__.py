"""Reads that the API and the page share: the ledger, and Temporal for what an agent does now."""
