"""What keeps the database: migrations, roles, backup, restore, new keys, pruning."""
