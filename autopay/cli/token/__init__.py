"""The group `token`."""
