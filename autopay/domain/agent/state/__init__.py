"""What an agent knows and decides: watches, queue, money, breakers, and which request starts next. Pure."""
