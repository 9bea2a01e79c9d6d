"""Which headers can be sent to a seller: one rule for every door. Pure."""

import re
from collections.abc import Mapping

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_NOT_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def is_header(name: object, value: object) -> bool:
    """Whether this is a header's name, and a value that can be sent: in one line, without control characters."""
    if not isinstance(name, str) or not isinstance(value, str):
        return False
    return _NAME.fullmatch(name) is not None and _NOT_IN_VALUE.search(value) is None and _is_encodable(value)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, their values without blanks around them, which no connection takes.

    Raises:
        ValueError: one cannot be sent; its value, which may be a secret, is not quoted.
    """
    for name, value in headers.items():
        if not is_header(name, value):
            raise ValueError(f"{ascii(name)[:100]} is not a header that can be sent")
    return {name: value.strip(" \t") for name, value in headers.items()}


def _is_encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
