"""How times and spans of time are shown: `2026-11-22 10:00:00 UTC`, `12 s ago`, `in 3 m`; and how people write them.

Pure.
"""

from datetime import UTC, datetime, timedelta

from autopay.domain.text.durations import parse_duration

TIME_EXAMPLES = "2026-11-22, 2026-11-22T10:00, 2h (ago), today, yesterday"

_SIZES = (("d", 86_400), ("h", 3_600), ("m", 60))


def utc(moment: datetime | None) -> str:
    """Date and time in UTC; nothing for None."""
    return "" if moment is None else f"{moment:%F %T} UTC"


def span(seconds: float) -> str:
    """A span in its largest two units: `45 s`, `3 m 20 s`, `2 d 4 h`."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in _SIZES:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    if left or not parts:
        parts.append(f"{left} s")
    return " ".join(parts[:2])


def ago(moment: datetime, now: datetime) -> str:
    """How long since that moment."""
    return f"{span((now - moment).total_seconds())} ago" if now - moment >= timedelta(seconds=1) else "now"


def until(moment: datetime, now: datetime) -> str:
    """How long until that moment."""
    return f"in {span((moment - now).total_seconds())}" if moment - now >= timedelta(seconds=1) else "now"


def parse_moment(text: str, now: datetime) -> datetime:
    """A point in time: ISO 8601 (UTC when it names no zone), `today`, `yesterday`, `now`, or how long ago.

    Raises:
        ValueError: none of these.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    word = text.strip().lower()
    if word in named:
        return named[word]
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        pass
    else:
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    shown = ascii(text[:100]) if not text.isprintable() else repr(text[:100])
    wrong = f"{shown} is not a time like {TIME_EXAMPLES}"
    if not word[-1:].isalpha():  # a bare number is a duration elsewhere; here it would be a mistyped date
        raise ValueError(wrong)
    try:
        return now - timedelta(seconds=parse_duration(word))
    except (ValueError, OverflowError):
        raise ValueError(wrong) from None
