"""Agents in the ledger."""
