"""Reads a policy from TOML as a person writes it, and says the line of what is wrong. Pure."""

import difflib
import re
import tomllib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from autopay.domain.hosts import HOST_PATTERN
from autopay.domain.money import to_atomic
from autopay.domain.policy.policy import ADDRESS_PATTERN, LONGEST_S, SHORTEST_S, Policy

EXAMPLE = """\
# Amounts are token units; USDC and CASH count together, as both are dollars. Days are UTC.
[limits]                      # what is left out has no limit
per_request = "0.05"
per_host_day = "1.00"
per_agent_day = "5.00"

[allow]                       # an empty or missing list allows all
hosts = ["api.example.com", "*.trusted.dev"]
payees = []
currencies = ["USDC", "CASH"]

[pins]
price_factor = 3              # a price may be this many times the last one paid for the same resource; 3 if left out

[approvals]                   # for agents in phase INTERACTIVE
auto_up_to = "0.01"           # a person is asked about everything above; "0" if left out
expire = "24h"                # how long a question, and its answer, is good
"""


class PolicyError(ValueError):
    """A policy file is wrong; the message begins with its line."""


def _amount(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError('an amount is a text in token units, like "0.05"')  # noqa: TRY004
    try:
        return to_atomic(value)
    except ArithmeticError:  # 1e999999 is beyond Decimal itself
        raise ValueError(f"{value!r} is not an amount") from None


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a number is wanted")  # noqa: TRY004
    return str(value)


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or any(not isinstance(each, str) for each in value):
        raise ValueError('a list of texts is wanted, like ["USDC"]')
    return value


def _hosts(value: Any) -> list[str]:
    hosts = [each.lower() for each in _texts(value)]
    for each in hosts:
        if not re.fullmatch(HOST_PATTERN, each):
            raise ValueError(f"{each!r} is not a host like api.example.com, *.example.com or 127.0.0.1:8403")
    return hosts


def _payees(value: Any) -> list[str]:
    payees = _texts(value)
    for each in payees:
        if not re.fullmatch(ADDRESS_PATTERN, each):
            raise ValueError(f"{each!r} is not a Solana address")
    return payees


_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def _seconds(value: Any) -> int:
    found = re.fullmatch(r"([0-9]{1,6})([smhd])", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('a time is a text like "30m", "24h" or "7d"')
    seconds = int(timedelta(**{_UNITS[found[2]]: int(found[1])}).total_seconds())
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError(f"{value} is not between {SHORTEST_S}s and {LONGEST_S // 86_400}d")
    return seconds


FIELDS: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "limits": {
        "per_request": ("per_request_atomic", _amount),
        "per_host_day": ("per_host_day_atomic", _amount),
        "per_agent_day": ("per_agent_day_atomic", _amount),
    },
    "allow": {"hosts": ("hosts", _hosts), "payees": ("payees", _payees), "currencies": ("currencies", _texts)},
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
        raise _not_toml(text, error) from None
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


def _not_toml(text: str, error: tomllib.TOMLDecodeError) -> PolicyError:
    said = str(error)
    at = re.search(r" \(at line ([0-9]+), column [0-9]+\)$", said)
    line = int(at[1]) if at else max(len(text.splitlines()), 1)
    return PolicyError(f"line {line}: not TOML: {said[: at.start()] if at else said}")


def _unknown(text: str, section: str, key: str | None, known: list[str]) -> PolicyError:
    name = key or section
    home = next((each for each, keys in FIELDS.items() if name in keys), None)
    close = difflib.get_close_matches(name, known, n=1)
    if home is not None:
        hint = f"; it belongs below [{home}]"
    else:
        hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
    return _wrong(text, section, key, f"{name!r} is unknown here{hint}")


def _wrong(text: str, section: str, key: str | None, message: str) -> PolicyError:
    return PolicyError(f"line {_line_of(text, section, key)}: {message}")


def _line_of(text: str, section: str, key: str | None) -> int:
    """Where a key of a section is written; the section's own line when it cannot be told."""
    table = rf"\[{{1,2}}\s*{_name(section)}\s*"
    inside, at = False, 1
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if key is not None and re.match(rf"({table}|{_name(section)}\s*)\.\s*{_name(key)}\s*[].=]", bare):
            return number  # limits.per_request = …, or [limits.per_request]
        if re.match(rf"{table}\]", bare) or re.match(rf"{_name(section)}\s*=", bare):
            inside, at = True, number
            if key is None:
                return at
        elif bare.startswith("["):
            inside = False
            at = number if re.match(rf"{table}\.", bare) else at
        elif inside and key is not None and re.match(rf"{_name(key)}\s*[.=]", bare):
            return number
    return at


def _name(text: str) -> str:
    """A pattern for a key as TOML may spell it."""
    return rf"[\"']?{re.escape(text)}[\"']?"
