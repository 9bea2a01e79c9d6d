"""How times and spans of time are shown: `2026-11-22 10:00:00 UTC`, `12 s ago`, `in 3 m`. Pure."""

from datetime import datetime, timedelta

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
