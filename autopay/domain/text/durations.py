"""Durations as people write them: `90`, `30s`, `200ms`, `2m`, `1.5h`, `7d`. Pure."""

import re

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
MOST_SECONDS = 100 * 366 * 86_400
"""Nothing here lasts longer, and every point in time that far from now is a date."""

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ms|s|m|h|d)?")


def parse_duration(text: str) -> float:
    """Seconds of a number with its unit; without a unit they are seconds.

    Raises:
        ValueError: anything else, or more than a hundred years.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(f"{text!r} is not a duration like 30s, 2m, 1h or 200ms")
    seconds = float(match[1]) * _SECONDS[match[2] or "s"]
    if seconds > MOST_SECONDS:
        raise ValueError(f"{text!r} is longer than {MOST_SECONDS // 31_622_400} years")
    return seconds


def parse_whole_seconds(text: str) -> int:
    """A duration of at least one second, in whole seconds.

    Raises:
        ValueError: no duration, or not a whole number of seconds.
    """
    seconds = parse_duration(text)
    if seconds < 1 or seconds != int(seconds):
        raise ValueError(f"{text!r} is not a whole number of seconds, at least 1s")
    return int(seconds)


def format_duration(seconds: int) -> str:
    """The text of whole seconds in the largest unit that needs no fraction, as `parse_duration` reads it: `24h`."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        count, rest = divmod(seconds, size)
        if not rest and (count > 1 or (count and unit != "d")):
            return f"{count}{unit}"
    return f"{seconds}s"
