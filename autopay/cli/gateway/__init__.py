"""The HTTP gateway as a command, and for the length of another command."""
