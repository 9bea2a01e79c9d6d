"""Grants and revokes that are signed by a wallet in the browser: what is to be signed, and what was."""
