"""What an agent's table in a file may say, and how each value is read. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from autopay.cli.connect.options import amount_atomic, currency_of, phase_of, session_s, watches_of, whole_seconds
from autopay.domain.money import Currency, to_atomic


def text_of(value: Any) -> str:
    """A value that is a text."""
    if not isinstance(value, str):
        raise ValueError(f'a text is wanted, like "1.00", not {value!r}')  # noqa: TRY004
    return value


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError('a list of texts is wanted, like ["USDC"]')  # noqa: TRY004
    return [text_of(each) for each in value]


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"a whole number is wanted, not {value!r}")  # noqa: TRY004
    return value


def _tx_limit(value: Any) -> int:
    if not 1 <= _whole(value) <= 1_000_000:
        raise ValueError(f"{value} is not between 1 and 1000000")
    return _whole(value)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is wanted, not {value!r}")  # noqa: TRY004
    return value


def _currencies(value: Any) -> tuple[Currency, ...]:
    found = tuple(dict.fromkeys(currency_of(each) for each in _texts(value)))
    if not found:
        raise ValueError("name at least one currency")
    return found


def _thresholds(value: Any) -> dict[Currency, int]:
    if not isinstance(value, dict):
        raise ValueError('amounts by currency are wanted, like { usdc = "0.05" }')  # noqa: TRY004
    return {currency_of(name): to_atomic(text_of(amount)) for name, amount in value.items()}


FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "phase": lambda value: phase_of(text_of(value)),
    "allowance": lambda value: amount_atomic(text_of(value)),
    "tx-limit": _tx_limit,
    "duration": lambda value: session_s(text_of(value)),
    "currencies": _currencies,
    "watches": lambda value: watches_of(_texts(value)),
    "thresholds": _thresholds,
    "buy-what-fits": _truth,
    "max-in-flight": _whole,
    "queue-limit": _whole,
    "demo-payments": _whole,
    "balance-every": lambda value: whole_seconds(text_of(value)),
}
"""What a table may say, and how it is read; each reader raises ValueError or BadParameter."""

RULES = {
    "thresholds": "thresholds",
    "buy-what-fits": "buy_what_fits",
    "max-in-flight": "max_in_flight",
    "queue-limit": "queue_limit",
    "demo-payments": "demo_payments",
    "balance-every": "balance_every_s",
}
"""Those of the fields that are the agent's rules."""
