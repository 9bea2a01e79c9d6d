"""The agent as a caller meets it: its workflow, its state, its budget."""
