"""Reads many agents from one TOML file, and says the line and the agent of all that is wrong. Pure.

What must not live here: launching (launching.py), and what a field means (launch_fields.py).
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from pydantic import ValidationError

from autopay.cli.agent.launch_fields import FIELDS, RULES, text_of
from autopay.cli.agent.launch_steps import LaunchOrder
from autopay.cli.connect.options import agent_name
from autopay.domain.agent.spec import Rules
from autopay.domain.money import Currency
from autopay.domain.phase import Phase

EXAMPLE = """\
[defaults]                        # what an agent does not say itself
phase = "full"                    # demo, interactive or full
allowance = "1.00"                # what its session may spend, in each currency
tx-limit = 500
duration = "24h"
currencies = ["USDC"]
thresholds = { usdc = "0.05" }    # with less spendable it pauses

[[agent]]
name = "scout"
watches = ["http://127.0.0.1:8403/api/market-feed every=30s max-price=0.01"]

[[agent]]
name = "trader"
phase = "interactive"
allowance = "5.00"
currencies = ["USDC", "CASH"]
buy-what-fits = true
"""

MOST_AGENTS = 1_000

DEFAULT_ALLOWANCE, DEFAULT_TX_LIMIT, DEFAULT_DURATION_S = 1_000_000, 3, 3_600
"""As the options of `launch` have it."""


@dataclass(frozen=True)
class FileProblem:
    """One thing that is wrong with a file; `agent` is its name or number, None for the file as a whole."""

    line: int
    agent: str | None
    message: str

    def __str__(self) -> str:
        whose = f", agent {self.agent}" if self.agent is not None else ""
        return f"line {self.line}{whose}: {self.message}"


class LaunchFileError(ValueError):
    """A file of agents is wrong; `problems` says all of it."""

    def __init__(self, problems: Sequence[FileProblem]) -> None:
        super().__init__("\n".join(str(each) for each in problems))
        self.problems = problems


def read_launch_file(text: str) -> list[LaunchOrder]:
    """The agents that a TOML text describes, in its order.

    Raises:
        LaunchFileError: with everything that is wrong.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LaunchFileError([_not_toml(text, error)]) from None
    reader = _Reader(text)
    orders = reader.orders(tables)
    if reader.problems:
        raise LaunchFileError(sorted(reader.problems, key=lambda each: each.line))
    return orders


class _Reader:
    """Goes through the tables of one file; what is wrong is collected, so that all of it can be mended at once."""

    def __init__(self, text: str) -> None:
        self.problems: list[FileProblem] = []
        self._lines = text.splitlines()

    def orders(self, tables: dict[str, Any]) -> list[LaunchOrder]:
        for key in tables.keys() - {"defaults", "agent"}:
            self._wrong(self._table(key), None, _unknown(key, ["defaults", "agent"]))
        defaults, agents = tables.get("defaults", {}), tables.get("agent", [])
        if not isinstance(defaults, dict):
            self._wrong(self._table("defaults"), None, "[defaults] is a table")
            defaults = {}
        if not isinstance(agents, list) or not agents or not all(isinstance(each, dict) for each in agents):
            self._wrong(self._table("agent"), None, "write a table [[agent]] for each agent")
            agents = []
        if len(agents) > MOST_AGENTS:
            self._wrong(1, None, f"{len(agents)} agents are more than the {MOST_AGENTS} of one file")
        shared = self._values(defaults, self._table("defaults"), None)
        self._rules(shared, self._table("defaults"), None)
        names: set[str] = set()
        orders = (self._order(table, number, shared, names) for number, table in enumerate(agents))
        return [order for order in orders if order is not None]

    def _order(
        self, table: dict[str, Any], number: int, shared: Mapping[str, Any], names: set[str]
    ) -> LaunchOrder | None:
        """One agent, or None when it is not to be had from what its table says."""
        table, at = dict(table), self._table("agent", number)
        name = table.pop("name", None)
        whose = name if isinstance(name, str) else f"number {number + 1}"
        if name is None:
            self._wrong(at, whose, "it has no name")
        elif (problem := _problem_of(lambda: agent_name(text_of(name)))) is not None:
            self._wrong(self._key(at, "name"), whose, f"name: {problem}")
        elif name in names:
            self._wrong(self._key(at, "name"), whose, "another agent of the file has that name")
        names.add(whose)
        values = {**shared, **self._values(table, at, whose)}
        rules = self._rules(values, at, whose)
        currencies = values.get("currencies", (Currency.USDC,))
        for watch in values.get("watches", ()):
            if watch.currency is not None and watch.currency not in currencies:
                own = ", ".join(currencies)
                self._wrong(self._key(at, "watches"), whose, f"{watch.name} wants {watch.currency}, it pays in {own}")
        if name is None or rules is None:
            return None
        return LaunchOrder(
            name=whose,
            phase=values.get("phase", Phase.DEMO),
            currencies=currencies,
            allowance_atomic=values.get("allowance", DEFAULT_ALLOWANCE),
            tx_limit=values.get("tx-limit", DEFAULT_TX_LIMIT),
            duration_s=values.get("duration", DEFAULT_DURATION_S),
            watches=values.get("watches", ()),
            rules=rules,
        )

    def _values(self, table: Mapping[str, Any], at: int, whose: str | None) -> dict[str, Any]:
        """What a table says, read; what cannot be read is left out and told."""
        found: dict[str, Any] = {}
        for key, value in table.items():
            read = FIELDS.get(key)
            if read is None:
                self._wrong(self._key(at, key), whose, _unknown(key, [*FIELDS, "name"]))
                continue
            try:
                found[key] = read(value)
            except (ValueError, ArithmeticError, typer.BadParameter) as error:
                self._wrong(self._key(at, key), whose, f"{key}: {error}")
        return found

    def _rules(self, values: Mapping[str, Any], at: int, whose: str | None) -> Rules | None:
        given = {field: values[key] for key, field in RULES.items() if key in values}
        given["thresholds"] = Rules().thresholds | given.get("thresholds", {})
        try:
            return Rules.model_validate(given)
        except ValidationError as error:
            for each in error.errors():
                key = next(key for key, field in RULES.items() if field == each["loc"][0])
                said = f"{key}: {each['input']}: {each['msg'][:1].lower()}{each['msg'][1:]}"
                self._wrong(self._key(at, key), whose, said)
            return None

    def _wrong(self, line: int, whose: str | None, message: str) -> None:
        self.problems.append(FileProblem(line, whose, message))

    def _table(self, name: str, number: int = 0) -> int:
        """The line of a table's header, the `number`th of that name; 1 when it is written in another way."""
        header = re.compile(rf"\s*(\[{{1,2}}\s*[\"']?{re.escape(name)}[\"']?\s*\]|[\"']?{re.escape(name)}[\"']?\s*=)")
        found = [at for at, line in enumerate(self._lines, 1) if header.match(line)]
        return found[number] if number < len(found) else 1

    def _key(self, at: int, key: str) -> int:
        """The line of a key in the table that begins at that line; the table's own when it cannot be told."""
        wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[.=]")
        for number, line in enumerate(self._lines[at:], at + 1):
            if re.match(r"\s*\[\[?[A-Za-z\"' ]", line):
                break
            if wanted.match(line):
                return number
        return at


def _problem_of(read: Callable[[], Any]) -> str | None:
    try:
        read()
    except (ValueError, typer.BadParameter) as error:
        return str(error)
    return None


def _unknown(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name!r} is unknown here; " + (f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}")


def _not_toml(text: str, error: tomllib.TOMLDecodeError) -> FileProblem:
    said = str(error)
    at = re.search(r" \(at line ([0-9]+), column [0-9]+\)$", said)
    line = int(at[1]) if at else max(len(text.splitlines()), 1)
    return FileProblem(line, None, f"not TOML: {said[: at.start()] if at else said}")
