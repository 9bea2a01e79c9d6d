"""What commands read from and write to a terminal: options, tables, texts, files that options name, exit codes."""
