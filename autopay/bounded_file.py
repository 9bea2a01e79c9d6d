"""Reads a file that a person named: never more of it than such a file can have."""

from pathlib import Path


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """The content of a file; `~` is the home directory.

    Raises:
        OSError: it cannot be read, or is larger.
    """
    try:
        with path.expanduser().open("rb") as file:
            content = file.read(most_bytes + 1)
    except (RuntimeError, ValueError) as error:  # no such user's home; a zero byte in the name
        raise OSError(2, "No such file or directory") from error
    if len(content) > most_bytes:
        raise OSError(27, f"larger than {most_bytes} bytes")
    return content
