"""Many agents in one TOML file: an example, what an agent's table may say, and `read_launch_file`. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from pydantic import ValidationError

from autopay.cli.agent.rules import RULE_FIELDS
from autopay.cli.agent.watch import watches_of
from autopay.cli.launch.launch_order import LaunchOrder
from autopay.cli.terminal.options import (
    DEFAULT_ALLOWANCE,
    agent_name,
    amount_atomic,
    amount_or_zero,
    currency_of,
    phase_of,
    session_s,
    whole_seconds,
)
from autopay.domain.agent.spec import Rules
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.session import MAX_TX_LIMIT, session_scope
from autopay.domain.text.toml_file import (
    TomlFile,
    TomlFileError,
    read_bool,
    read_text,
    read_texts,
    read_whole_number,
    unknown_name,
)
from autopay.domain.values import validation_message

EXAMPLE = """\
[defaults]                        # for all agents that do not say otherwise
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


def _tx_limit(value: Any) -> int:
    if not 1 <= read_whole_number(value) <= MAX_TX_LIMIT:
        raise ValueError(f"{value} is not between 1 and {MAX_TX_LIMIT}")
    return read_whole_number(value)


def _currencies(value: Any) -> tuple[Currency, ...]:
    found = tuple(dict.fromkeys(currency_of(each) for each in read_texts(value)))
    if not found:
        raise ValueError("name at least one currency")
    return found


def _thresholds(value: Any) -> dict[Currency, int]:
    if not isinstance(value, dict):
        raise ValueError('amounts by currency are wanted, like { usdc = "0.05" }')  # noqa: TRY004
    return {currency_of(name): amount_or_zero(read_text(amount, "an amount", "0.05")) for name, amount in value.items()}


FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "phase": lambda value: phase_of(read_text(value, "a phase", "full")),
    "allowance": lambda value: amount_atomic(read_text(value, "an amount", "1.00")),
    "tx-limit": _tx_limit,
    "duration": lambda value: session_s(read_text(value, "a duration", "24h")),
    "currencies": _currencies,
    "watches": lambda value: watches_of(read_texts(value)),
    "thresholds": _thresholds,
    "buy-what-fits": read_bool,
    "max-in-flight": read_whole_number,
    "queue-limit": read_whole_number,
    "demo-payments": read_whole_number,
    "balance-every": lambda value: whole_seconds(read_text(value, "a duration", "30s")),
}
"""What a table may say, and how it is read; each reader raises ValueError or BadParameter."""


def read_launch_file(text: str) -> list[LaunchOrder]:
    """The agents that a TOML text describes, in its order.

    Raises:
        LaunchFileError: with everything that is wrong.
    """
    try:
        reader = _Reader(TomlFile(text))
    except TomlFileError as error:
        raise LaunchFileError([FileProblem(error.line, None, error.message)]) from None
    orders = reader.orders()
    if reader.problems:
        raise LaunchFileError(sorted(reader.problems, key=lambda each: each.line))
    return orders


@dataclass(frozen=True)
class _Table:
    """Where values come from: `[defaults]`, or the `number`th `[[agent]]`, called `whose` in errors."""

    name: str
    number: int = 0
    whose: str | None = None


class _Reader:
    """Reads the tables of one file; collects what is wrong, so that all of it can be corrected at once."""

    def __init__(self, file: TomlFile) -> None:
        self.problems: list[FileProblem] = []
        self._file = file

    def orders(self) -> list[LaunchOrder]:
        tables = self._file.tables
        for name in tables.keys() - {"defaults", "agent"}:
            self._add(_Table(name), None, unknown_name(name, ["defaults", "agent"]))
        defaults, agents = tables.get("defaults", {}), tables.get("agent", [])
        if not isinstance(defaults, dict):
            self._add(_Table("defaults"), None, "[defaults] is a table")
            defaults = {}
        if not isinstance(agents, list) or not agents or not all(isinstance(each, dict) for each in agents):
            self._add(_Table("agent"), None, "write a table [[agent]] for each agent")
            agents = []
        if len(agents) > MOST_AGENTS:
            self._add(_Table("agent"), None, f"{len(agents)} agents are more than the {MOST_AGENTS} of one file")
        shared = self._values(defaults, _Table("defaults"))
        self._rules(shared, _Table("defaults"))
        names: set[str] = set()
        orders = (self._order(values, number, shared, names) for number, values in enumerate(agents))
        return [order for order in orders if order is not None]

    def _order(
        self, values: dict[str, Any], number: int, shared: Mapping[str, Any], names: set[str]
    ) -> LaunchOrder | None:
        """One agent, or None when its table does not describe one."""
        name = values.get("name")
        whose = name if isinstance(name, str) else f"number {number + 1}"
        table = _Table("agent", number, whose)
        if name is None:
            self._add(table, None, "it has no name")
        elif (problem := _problem_of_name(name)) is not None:
            self._add(table, "name", f"name: {problem}")
        elif name in names:
            self._add(table, "name", "another agent of the file has that name")
        names.add(whose)
        own = self._values({key: value for key, value in values.items() if key != "name"}, table)
        found = {**shared, **own}
        rules = self._rules(found, table)
        currencies = found.get("currencies", (Currency.USDC,))
        for watch in found.get("watches", ()):
            if watch.currency is not None and watch.currency not in currencies:
                pays_in = ", ".join(currencies)
                self._add(table, "watches", f"{watch.name} wants {watch.currency}, the agent pays in {pays_in}")
        if name is None or rules is None:
            return None
        phase = found.get("phase", Phase.DEMO)
        tx_limit, duration_s = session_scope(phase, found.get("tx-limit"), found.get("duration"))
        return LaunchOrder(
            name=whose,
            phase=phase,
            currencies=currencies,
            allowance_atomic=found.get("allowance", amount_atomic(DEFAULT_ALLOWANCE)),
            tx_limit=tx_limit,
            duration_s=duration_s,
            watches=found.get("watches", ()),
            rules=rules,
        )

    def _values(self, values: Mapping[str, Any], table: _Table) -> dict[str, Any]:
        """What a table says, read; what cannot be read becomes a problem."""
        found: dict[str, Any] = {}
        for key, value in values.items():
            read = FIELDS.get(key)
            if read is None:
                self._add(table, key, unknown_name(key, [*FIELDS, "name"]))
                continue
            try:
                found[key] = read(value)
            except (ValueError, typer.BadParameter) as error:
                self._add(table, key, f"{key}: {error}")
        return found

    def _rules(self, values: Mapping[str, Any], table: _Table) -> Rules | None:
        given = {field: values[key] for key, field in RULE_FIELDS.items() if key in values}
        given["thresholds"] = Rules().thresholds | given.get("thresholds", {})
        try:
            return Rules.model_validate(given)
        except ValidationError as error:
            for each in error.errors():
                key = next(key for key, field in RULE_FIELDS.items() if field == each["loc"][0])
                self._add(table, key, f"{key}: {each['input']}: {validation_message(each)}")
            return None

    def _add(self, table: _Table, key: str | None, message: str) -> None:
        line = self._file.line_of(table.name, key, table.number)
        self.problems.append(FileProblem(line, table.whose, message))


def _problem_of_name(name: Any) -> str | None:
    try:
        agent_name(read_text(name, "a name", "trader"))
    except (ValueError, typer.BadParameter) as error:
        return str(error)
    return None
