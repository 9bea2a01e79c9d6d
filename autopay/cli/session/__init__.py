"""The group `session`: what an agent's keys may spend, granted and taken back by the owner."""
