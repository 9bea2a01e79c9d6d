"""The group `webhook`."""
