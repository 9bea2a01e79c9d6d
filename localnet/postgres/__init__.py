"""The embedded PostgreSQL: its server, the process behind a data directory, and the part of the stack."""
