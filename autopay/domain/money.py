"""Money: integers of base units inside, `Decimal` or text of token units at the edges. Never float.

| at an edge | in | out |
|---|---|---|
| a person's text, a database's `Decimal` | `to_atomic` | `short_units_text`, `to_units` |
| JSON, a decimal text | `UnitsAsText` | `UnitsAsText`, `units_text` |
| a sentence for people | | `show`, `price_text` |
"""

import re
from decimal import Decimal, InvalidOperation, Overflow
from enum import StrEnum
from typing import Annotated, Protocol

from pydantic import BeforeValidator, PlainSerializer

DECIMALS = 6
"""USDC and Phantom CASH both have six decimals; a mint that says otherwise is refused (Circle, Phantom docs)."""

_SCALE = 10**DECIMALS
_AMOUNT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")
MAX_ATOMIC = 2**64 - 1
"""SPL amounts are u64."""


class Currency(StrEnum):
    """What we pay in; the mint address behind each name depends on the network."""

    USDC = "USDC"
    CASH = "CASH"


def parse_currency(text: str) -> Currency:
    """A currency's name, in any case.

    Raises:
        ValueError: it is none.
    """
    try:
        return Currency(text.strip().upper())
    except ValueError:
        raise ValueError(f"{text!r} is not a currency: {' or '.join(Currency)}") from None


def to_atomic(units: Decimal | str) -> int:
    """Base units of an amount in token units: `"0.001"` is 1000.

    Raises:
        ValueError: not a number, negative, not finite, finer than a base unit, or beyond u64.
    """
    if isinstance(units, str) and not _AMOUNT.fullmatch(
        units.strip()
    ):  # Decimal also reads `1_0`, and digits of all scripts
        raise ValueError(f"{units[:100]!r} is not an amount of 0 or more")
    try:
        amount = Decimal(units)
    except InvalidOperation:
        raise ValueError(f"{units!r} is not an amount") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{units!r} is not an amount of 0 or more")
    try:
        scaled = amount * _SCALE
    except Overflow:  # 1e999999 is beyond Decimal itself
        raise ValueError(f"{units!r} is not an amount") from None
    if scaled != scaled.to_integral_value():
        raise ValueError(f"{units!r} is finer than a base unit (10^-{DECIMALS})")
    if scaled > MAX_ATOMIC:
        raise ValueError(f"{units!r} does not fit 64 bits")
    return int(scaled)


def to_units(amount_atomic: int) -> Decimal:
    """Token units of an amount in base units, always with six decimals: 1000 is `Decimal("0.001000")`."""
    return Decimal(amount_atomic).scaleb(-DECIMALS).quantize(Decimal(1).scaleb(-DECIMALS))


def units_text(amount_atomic: int) -> str:
    """An amount for programs, in token units with six decimals: 1000 is `"0.001000"`."""
    return f"{to_units(amount_atomic):f}"


UnitsAsText = Annotated[
    int,
    BeforeValidator(lambda value: to_atomic(value) if isinstance(value, str) else value),
    PlainSerializer(units_text, when_used="json"),
]
"""A model's field in base units that JSON has as a decimal text in token units."""


def short_units_text(amount_atomic: int) -> str:
    """An amount as people type it, in token units without trailing zeros: 1000 is `"0.001"`."""
    return units_text(amount_atomic).rstrip("0").rstrip(".")


def show(amount_atomic: int, currency: str) -> str:
    """An amount for people: `0.001 USDC`, without trailing zeros."""
    return f"{short_units_text(amount_atomic)} {currency}"


class Priced(Protocol):
    """What has a price: an offer, the terms that a person is asked about, a recorded attempt."""

    @property
    def amount_atomic(self) -> int: ...
    @property
    def currency(self) -> Currency: ...


def price_text(priced: Priced) -> str:
    """A price for people: `0.001 USDC`."""
    return show(priced.amount_atomic, priced.currency)
