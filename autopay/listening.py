"""The socket that a server of ours takes connections at."""

import socket

BACKLOG = 256
"""Connections that may wait to be taken."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on; port 0 is any free one.

    Raises:
        OSError: the address cannot be one, is not this machine's, or is taken.
    """
    if not (host.isascii() and host.isprintable() and host) or not 0 <= port < 65_536:
        raise OSError("not an address")  # Python raises several other errors, and leaves the socket open
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def why_not(error: OSError) -> str:
    """Why it could not listen, in words."""
    return (error.strerror or str(error)).partition(" (while attempting")[0]  # Python adds the address
