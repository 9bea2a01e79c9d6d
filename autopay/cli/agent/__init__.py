"""Commands about agents: launch, list, status, pause, watches, rules, queue."""
