"""Requests and their signed attempts in the ledger, and the check of policy before one is recorded."""
