"""TOML files that people write: tables, the line of whatever is wrong in them, and readers of single values. Pure.

Readers take a value as TOML has it and raise a ValueError that says what is wanted instead.
"""

import difflib
import re
import tomllib
from collections.abc import Sequence
from typing import Any

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')"""
_NAMES = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"\s*\[{{1,2}}\s*({_NAMES})\s*\]{{1,2}}\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_NAMES})\s*=")
_TOML_POSITION = re.compile(r" \(at line ([0-9]+), column [0-9]+\)$")


class TomlFileError(ValueError):
    """A file is wrong; the message begins with its line."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message


class TomlFile:
    """The tables of a TOML text, and where its names are written."""

    def __init__(self, text: str) -> None:
        """Parse the text.

        Raises:
            TomlFileError: it is not TOML.
        """
        self._lines = text.splitlines()
        try:
            self.tables: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            said = str(error)
            at = _TOML_POSITION.search(said)
            line = int(at[1]) if at else max(len(self._lines), 1)
            raise TomlFileError(line, f"not TOML: {said[: at.start()] if at else said}") from None

    def line_of(self, table: str, key: str | None = None, number: int = 0) -> int:
        """The line of a table, or of a key in it; the table's own line, or else 1, when the key is not found.

        Args:
            table: a name at the top level of the file, in any of TOML's notations.
            key: a name in that table.
            number: which of several `[[table]]`, from 0.
        """
        at, count, inside, before_tables = 1, -1, False, True
        for line_number, line in enumerate(self._lines, 1):
            if (header := _HEADER.fullmatch(line)) is not None:
                names, before_tables = _split(header[1]), False
                if names == [table]:
                    count += 1
                inside = names == [table] and count == number
                is_sub_table = names[0] == table and len(names) > 1 and max(count, 0) == number
                if (inside and key is None) or (is_sub_table and names[1] == key):
                    return line_number
                at = line_number if inside or is_sub_table else at
            elif (found := _KEY.match(line)) is not None:
                names = _split(found[1])
                is_in_table = before_tables and names[0] == table
                if (inside and names[0] == key) or (is_in_table and (key is None or names[1:2] == [key])):
                    return line_number
                at = line_number if is_in_table else at
        return at


def _split(names: str) -> list[str]:
    return [each.strip("\"'") for each in re.findall(_NAME, names)]


def unknown_name(name: str, known: Sequence[str]) -> str:
    """What to say of a name that means nothing: the name that may have been meant, or all that are known."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name!r} is unknown here; " + (f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}")


def read_text(value: Any, what: str = "a text", like: str = "abc") -> str:
    """A value that is a text; `what` and `like` name it and show one in the error."""
    if not isinstance(value, str):
        raise ValueError(f'{what} is a text like "{like}", not {value!r}')  # noqa: TRY004
    return value


def read_texts(value: Any) -> list[str]:
    """A list of texts."""
    if not isinstance(value, list) or any(not isinstance(each, str) for each in value):
        raise ValueError(f'a list of texts is wanted, like ["USDC"], not {value!r}')
    return value


def read_whole_number(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a whole number is wanted, not {value!r}")  # noqa: TRY004
    return value


def read_bool(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"true or false is wanted, not {value!r}")  # noqa: TRY004
    return value
