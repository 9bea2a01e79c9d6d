"""Requests and their signed attempts in the ledger, and the judgement before one is recorded."""
