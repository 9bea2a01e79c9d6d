"""Reads a file that holds a secret: a keyring, or a wallet's key. Nothing of what is in it is in any error."""

import codecs
import stat
from pathlib import Path

from autopay.bounded_file import read_bounded

MOST_BYTES = 100_000

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class SecretFileError(ValueError):
    """The file cannot be read, or holds no text; the message ends the sentence "this file ..."."""


def read_secret_text(path: Path) -> str:
    """The text of the file, without blanks and line ends around it; `~` is the home directory.

    Files that others may read are taken: container engines mount secrets so. One that others may write is not, since
    whoever can change it decides what everything is sealed with.

    Raises:
        SecretFileError: it cannot be read, others may write it, it is too large, empty, or no UTF-8.
    """
    try:
        raw = read_bounded(path, MOST_BYTES)
        mode = path.expanduser().stat().st_mode
    except OSError as error:
        raise SecretFileError(f"cannot be read: {error.strerror}") from None
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        raise SecretFileError("may be written by everybody: chmod 600")
    if raw.startswith(_UTF16) or b"\0" in raw:
        raise SecretFileError("is not UTF-8: save it in that encoding, and not as UTF-16")
    try:
        text = raw.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise SecretFileError("is not UTF-8: save it in that encoding") from None
    if not text:
        raise SecretFileError("is empty")
    return text
