"""The HTTP API of a running Autopay, and the page in front of it."""
