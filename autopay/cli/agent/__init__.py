"""Commands about agents that were launched: list, status, pause, watches, rules, queue, test tokens."""
