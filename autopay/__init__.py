"""Autopay buys data from paid HTTP APIs (x402 on Solana), exactly once."""

__version__ = "0.2.0"
