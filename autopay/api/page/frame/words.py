"""How values are written on the page: text of others made harmless and visible, money, times. Pure."""

from datetime import UTC, datetime
from decimal import Decimal

from autopay.domain.money import to_units
from autopay.domain.text.times import ago, span, until

LEAST_DECIMALS = 2
MOST_CONTENT = 20_000
"""Characters of bought content that a view shows."""


def visible(text: object, most: int = 160) -> str:
    """Text that others wrote, in one line and bounded: what would not be seen, or would change how the rest is read
    (control characters, bidirectional overrides, characters without width), is shown by its number.
    """
    whole = str(text)
    shown = "".join(char if char.isprintable() else _number(char) for char in whole[:most])
    return shown if len(whole) <= most else f"{shown}…"


def visible_lines(text: str, most: int = MOST_CONTENT) -> str:
    """The same with line breaks and tabs kept, for content that is shown as it came."""
    whole = text.replace("\r\n", "\n")
    shown = "".join(char if char.isprintable() or char in "\n\t" else _number(char) for char in whole[:most])
    return shown if len(whole) <= most else f"{shown}…"


def _number(char: str) -> str:
    return {"\n": "⏎", "\t": "⇥"}.get(char, f"⟨U+{ord(char):04X}⟩")


def amount(atomic: int) -> str:
    """An amount for people, in token units: exact, with at least two decimals, thousands apart: `1,204.50`."""
    units = to_units(atomic)
    decimals = max(LEAST_DECIMALS, -int(units.normalize().as_tuple().exponent))
    return f"{units.quantize(Decimal(1).scaleb(-decimals)):,f}"


def iso(at: datetime) -> str:
    """For programs."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")


def exact(at: datetime) -> str:
    """To the millisecond, in UTC: what is shown when one points at a time."""
    return f"{at.astimezone(UTC):%F %T}.{at.microsecond // 1000:03} UTC"


def relative(at: datetime, now: datetime) -> str:
    """`12 s ago`, `in 3 m`."""
    return ago(at, now) if at <= now else until(at, now)


def short(at: datetime) -> str:
    """A moment in a table: `29 Nov, 00:31:07`."""
    moment = at.astimezone(UTC)
    return f"{moment.day} {moment:%b, %T}"


def clock(at: datetime) -> str:
    """A time of a day that is known: `00:31:07`."""
    return f"{at.astimezone(UTC):%T} UTC"


def precise(at: datetime) -> str:
    """A time of a day to the tenth of a second, for what happens in quick succession: `00:31:07.4`."""
    return f"{at.astimezone(UTC):%T}.{at.microsecond // 100_000}"


def seconds(number: float) -> str:
    """A span of time: `45 s`, `2 m`."""
    return span(number)


def milliseconds(number: float | None) -> str:
    """A short span of time: `0.42 s`; a dash when nobody knows."""
    return "–" if number is None else f"{number / 1000:.2f} s"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: `1 agent`, `2 agents`, `no agents`."""
    noun = one if number == 1 else many or f"{one}s"
    return f"{number or 'no'} {noun}"
