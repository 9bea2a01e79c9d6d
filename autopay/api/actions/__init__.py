"""What callers can do: pause, resume and stop agents, buy, decide, ask sellers again, revoke sessions."""
