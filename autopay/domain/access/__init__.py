"""Callers of the API: what their tokens look like, and what is recorded of them. Pure."""
