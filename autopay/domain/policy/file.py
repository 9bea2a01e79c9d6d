"""A policy as a person writes it in TOML: an example, and `read_policy`, whose errors name the line. Pure."""

import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from autopay.domain.money import to_atomic
from autopay.domain.policy.policy import ADDRESS_PATTERN, LONGEST_S, SHORTEST_S, Policy
from autopay.domain.text.durations import format_duration, parse_whole_seconds
from autopay.domain.text.hosts import parse_host_rule
from autopay.domain.text.toml_file import TomlFile, TomlFileError, read_text, read_texts, unknown_name
from autopay.domain.values import validation_message

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


def _amount(value: Any) -> int:
    return to_atomic(read_text(value, "an amount", "0.05"))


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"a number is wanted, not {value!r}")  # noqa: TRY004
    return str(value)


def _hosts(value: Any) -> list[str]:
    return [parse_host_rule(each) for each in read_texts(value)]


def _payees(value: Any) -> list[str]:
    payees = read_texts(value)
    for each in payees:
        if not re.fullmatch(ADDRESS_PATTERN, each):
            raise ValueError(f"{each!r} is not a Solana address")
    return payees


def _expiry(value: Any) -> int:
    seconds = parse_whole_seconds(read_text(value, "a duration", "30m"))
    if not SHORTEST_S <= seconds <= LONGEST_S:
        raise ValueError(f"{value} is not between {SHORTEST_S}s and {format_duration(LONGEST_S)}")
    return seconds


FIELDS: dict[str, dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "limits": {
        "per_request": ("per_request_atomic", _amount),
        "per_host_day": ("per_host_day_atomic", _amount),
        "per_agent_day": ("per_agent_day_atomic", _amount),
    },
    "allow": {"hosts": ("hosts", _hosts), "payees": ("payees", _payees), "currencies": ("currencies", read_texts)},
    "pins": {"price_factor": ("price_factor", _number)},
    "approvals": {"auto_up_to": ("auto_approve_atomic", _amount), "expire": ("approval_expires_s", _expiry)},
}
"""Tables and keys of the file: the field of `Policy` that each sets, and how its value is read."""


def read_policy(text: str) -> Policy:
    """The policy that a TOML text says.

    Raises:
        TomlFileError: not TOML, an unknown name, or an impossible value; with the line.
    """
    file = TomlFile(text)
    values: dict[str, Any] = {}
    for table, entries in file.tables.items():
        if table not in FIELDS:
            raise TomlFileError(file.line_of(table), _unknown(table, list(FIELDS)))
        if not isinstance(entries, dict):
            raise TomlFileError(file.line_of(table), f"[{table}] is a table")
        for key, value in entries.items():
            if key not in FIELDS[table]:
                raise TomlFileError(file.line_of(table, key), _unknown(key, list(FIELDS[table])))
            name, read = FIELDS[table][key]
            try:
                values[name] = read(value)
                Policy.model_validate({name: values[name]})
            except ValidationError as error:
                message = f"{key}: {validation_message(error.errors()[0])}"
                raise TomlFileError(file.line_of(table, key), message) from None
            except ValueError as error:
                raise TomlFileError(file.line_of(table, key), f"{key}: {error}") from None
    return Policy.model_validate(values)


def _unknown(name: str, known: list[str]) -> str:
    """What to say of an unknown name; of a key of another table, where it belongs."""
    home = next((table for table, keys in FIELDS.items() if name in keys), None)
    return unknown_name(name, known) if home is None else f"{name!r} is unknown here; it belongs below [{home}]"
