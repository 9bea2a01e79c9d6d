"""Files that options name: TOML from a file or stdin, and key files of the Solana CLI."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from autopay.bounded_file import read_bounded
from autopay.cli.terminal.exit_codes import CommandError

if TYPE_CHECKING:
    from solders.keypair import Keypair

STDIN = "-"
MOST_TOML_BYTES = 5_000_000


def name_of(file: str) -> str:
    """How errors name a file; `-` is stdin."""
    return "stdin" if file == STDIN else file


def read_toml_text(file: str) -> str:
    """The text of a TOML file, or of stdin.

    Raises:
        CommandError: it cannot be read, or is not UTF-8; one line that names the file.
    """
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else read_bounded(Path(file), MOST_TOML_BYTES)
        return raw.decode()
    except OSError as error:
        raise CommandError(f"{name_of(file)}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CommandError(f"{name_of(file)}, line {line}: not TOML: not UTF-8") from None


def read_keypair(path: Path, option: str = "--owner-keypair") -> "Keypair":
    """A key in the Solana CLI's format: a JSON list of 64 numbers. Never quoted in an error.

    Raises:
        CommandError: the file cannot be read, or holds no key; the message names the option.
    """
    from autopay.adapters.solana.owner.key_file import read_key_file

    try:
        return read_key_file(path)
    except ValueError as error:
        raise CommandError(f"{option}: {path} {error}") from None
