"""Commands that run and keep the system: the embedded stack, database, roles, backup, keys, rollout, weather."""
