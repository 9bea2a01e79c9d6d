"""Grants and revokes that an owner signs with a wallet: what the commands and the API have in common."""
