"""What all answers are made of: a model with described fields, money, and a page of a list."""

from collections.abc import Mapping
from typing import Annotated, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from autopay.domain.money import Currency, short_units_text

Item = TypeVar("Item")


class Model(BaseModel):
    """Cannot be changed; the text below a field is its description in the OpenAPI document."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Money(Model):
    """An amount of one currency, exact."""

    amount: Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]{1,6})?$", examples=["0.0024"])]
    """In token units, as a decimal text."""
    atomic: Annotated[int, Field(examples=[2400])]
    """The same in base units, of which a million make one token."""
    currency: Currency


def money(atomic: int, currency: Currency) -> Money:
    """That amount."""
    return Money(amount=short_units_text(atomic), atomic=atomic, currency=currency)


def money_or_none(atomic: int | None, currency: Currency | None) -> Money | None:
    """That amount, if there is one."""
    return None if atomic is None or currency is None else money(atomic, currency)


def amounts(by_currency: Mapping[Currency, int]) -> tuple[Money, ...]:
    """An amount for each currency, in the currencies' order."""
    return tuple(money(atomic, currency) for currency, atomic in sorted(by_currency.items()))


class Page(Model, Generic[Item]):
    """A part of a list."""

    items: tuple[Item, ...]
    next: Annotated[str | None, Field(examples=["2026-11-22T19:33:14.120000+00:00_0193fa2c6f0e7c1a9d3f2b1a0c4d5e6f"])]
    """Where the list goes on: give it as `after`. None at the end."""
