"""Variables of the environment and of `.env`, where there is one."""

import io
import os
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from autopay.domain.errors import SettingsError

PREFIX = "AUTOPAY_"
"""Of the names of our own variables."""

ENV_FILE = ".env"

ENV_ENCODING = "utf-8-sig"
"""UTF-8, with the mark at its beginning that some editors write."""


def environment(prefix: str) -> dict[str, str]:
    """The variables of the environment and of `.env` whose names begin so; the environment wins.

    Raises:
        SettingsError: `.env` cannot be read.
    """
    both = {**env_file_values(), **os.environ}
    return {name: value for name, value in both.items() if name.startswith(prefix)}


def env_file_values() -> dict[str, str]:
    """What `.env` says, if there is one.

    Raises:
        SettingsError: it cannot be read, or has a line that means nothing; the line is not quoted.
    """
    try:
        text = Path(ENV_FILE).read_bytes().decode(ENV_ENCODING)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"{ENV_FILE} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{ENV_FILE} is not UTF-8: save it in that encoding") from None
    if "\0" in text:
        raise SettingsError(f"{ENV_FILE} is not UTF-8: save it in that encoding, and not as UTF-16")
    for line in parse_stream(io.StringIO(text)):
        if line.error:
            raise SettingsError(f"{ENV_FILE}, line {line.original.line}: is not NAME=value")
    found = dotenv_values(stream=io.StringIO(text))
    return {name: value for name, value in found.items() if value is not None}
