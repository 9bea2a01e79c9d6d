"""What all commands share: what they connect to, options, exit codes, and how values are printed."""
