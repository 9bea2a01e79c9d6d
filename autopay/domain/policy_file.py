"""Reads a policy from TOML as a person writes it, and says the line of what is wrong. Pure."""

import difflib
import re
import tomllib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from autopay.domain.money import to_atomic
from autopay.domain.policy import Policy

EXAMPLE = """\
# Amounts are token units; USDC and CASH count together, as both are dollars. What is left out has no limit.
[limits]
per_request = "0.05"
per_host_day = "1.00"
per_agent_day = "5.00"

[allow]                       # an empty or missing list allows all
hosts = ["api.example.com", "*.trusted.dev"]
payees = []
currencies = ["USDC", "CASH"]

[pins]
price_factor = 3              # a price may be at most this many times the last one paid for the same resource

[approvals]                   # for agents in phase INTERACTIVE
auto_up_to = "0.01"
expire = "24h"
"""


class PolicyError(ValueError):
    """A policy file is wrong; the message begins with its line."""


def _amount(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError('an amount is a text in token units, like "0.05"')  # noqa: TRY004
    return to_atomic(value)


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a number is wanted")  # noqa: TRY004
    return str(value)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or any(not isinstance(each, str) for each in value):
        raise ValueError('a list of texts is wanted, like ["USDC"]')
    return value


def _hosts(value: Any) -> list[str]:
    return [each.lower() for each in _texts(value)]


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _seconds(value: Any) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a time is a text like "30m", "24h" or "7d"')
    return int(timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds())


FIELDS: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "limits": {
        "per_request": ("per_request_atomic", _amount),
        "per_host_day": ("per_host_day_atomic", _amount),
        "per_agent_day": ("per_agent_day_atomic", _amount),
    },
    "allow": {"hosts": ("hosts", _hosts), "payees": ("payees", _texts), "currencies": ("currencies", _texts)},
    "pins": {"price_factor": ("price_factor", _number)},
    "approvals": {"auto_up_to": ("auto_approve_atomic", _amount), "expire": ("approval_expires_s", _seconds)},
}


def read_policy(text: str) -> Policy:
    """The policy that a TOML text says.

    Raises:
        PolicyError: not TOML, an unknown name, or an impossible value; with the line.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"not TOML: {error}") from None
    values: dict[str, Any] = {}
    for section, entries in tables.items():
        if section not in FIELDS:
            raise _unknown(text, section, None, list(FIELDS))
        if not isinstance(entries, dict):
            raise _wrong(text, section, None, f"[{section}] is a table")
        for key, value in entries.items():
            if key not in FIELDS[section]:
                raise _unknown(text, section, key, list(FIELDS[section]))
            name, read = FIELDS[section][key]
            try:
                values[name] = read(value)
                Policy.model_validate({name: values[name]})
            except ValidationError as error:
                raise _wrong(text, section, key, f"{key}: {error.errors()[0]['msg']}") from None
            except ValueError as error:
                raise _wrong(text, section, key, f"{key}: {error}") from None
    return Policy.model_validate(values)


def _unknown(text: str, section: str, key: str | None, known: list[str]) -> PolicyError:
    name = key or f"[{section}]"
    close = difflib.get_close_matches(key or section, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
    return _wrong(text, section, key, f"{name} is unknown{hint}")


def _wrong(text: str, section: str, key: str | None, message: str) -> PolicyError:
    return PolicyError(f"line {_line_of(text, section, key)}: {message}")


def _line_of(text: str, section: str, key: str | None) -> int:
    """Where a key of a section is written; the section's own line when it cannot be told."""
    inside, at = False, 1
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if re.match(rf"\[{re.escape(section)}\]|{re.escape(section)}\s*[.=]", bare):
            inside, at = True, number
            if key is None or not bare.startswith("["):
                return at
        elif bare.startswith("["):
            inside = False
        elif inside and key is not None and re.match(rf"[\"']?{re.escape(key)}[\"']?\s*[.=]", bare):
            return number
    return at
