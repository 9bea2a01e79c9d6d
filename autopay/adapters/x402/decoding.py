"""Base64 and JSON in the forms in which sellers really send them: read where there is one reading only.

Doubled keys, numbers that are not finite and half characters are not refused here, as most of an offer is never used:
`is_echoable` tells whether a value can be sent back as it came.
"""

import base64
import json
import math
from collections import Counter
from typing import Any

MAX_DEPTH = 64
"""Of lists and objects within each other: what is read near the parser's own limit might not be echoed any more."""

_MAX_DIGITS = 400
_BLANKS = str.maketrans("", "", " \t\r\n")
_URL_SAFE = str.maketrans("-_", "+/")


class DoubledKeys(dict[str, Any]):
    """A JSON object in which the keys `twice` stand more than once; its values are the last ones."""

    twice: frozenset[str] = frozenset()


def base64_bytes(text: str) -> bytes:
    """The bytes of a base64 header: either alphabet (RFC 4648), with or without padding and blanks, and nothing else.

    A header that was sent twice, and says the same both times, is read once.

    Raises:
        ValueError: there is something that lax decoders would skip, or it is cut.
    """
    values = {each.translate(_BLANKS).rstrip("=").translate(_URL_SAFE) for each in text.split(",")}
    if len(values) > 1:
        raise ValueError("the header stands twice, with different values")
    [value] = values
    return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)


def read_json(content: bytes) -> Any:
    """The JSON value: UTF-8, UTF-16 or UTF-32, with or without a byte order mark, or else Latin-1.

    Raises:
        ValueError: it is no JSON, or nested until the parser gives up.
    """
    encoding = json.detect_encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=_whole)
    except RecursionError:
        raise ValueError("nested too deep") from None


def is_echoable(value: Any, depth: int = MAX_DEPTH) -> bool:
    """Whether a value can be sent back as it came: not too deep, no doubled keys, half characters or odd numbers."""
    if isinstance(value, str):
        return _is_text(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if not isinstance(value, dict | list):
        return True
    if depth == 0 or isinstance(value, DoubledKeys):
        return False
    if isinstance(value, list):
        return all(is_echoable(each, depth - 1) for each in value)
    return all(_is_text(name) and is_echoable(each, depth - 1) for name, each in value.items())


def _is_text(value: str) -> bool:
    """Whether it has no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) == len(pairs):
        return content
    doubled = DoubledKeys(content)
    doubled.twice = frozenset(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return doubled


def _whole(digits: str) -> int | float:
    """Python refuses to read very long integers; they are no terms of ours, and cannot be echoed."""
    return int(digits) if len(digits) <= _MAX_DIGITS else math.nan
