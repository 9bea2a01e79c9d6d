"""The commands behind `starter.py`, one module a group.

What must not live here: decisions about money (the domain's), and I/O other than the terminal's (the adapters').
"""
