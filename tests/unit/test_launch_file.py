"""Many agents in one file: what it means, and all that can be wrong with it."""

import pytest

from autopay.cli.launch.launch_file import EXAMPLE, LaunchFileError, read_launch_file
from autopay.domain.agent.spec import Rules
from autopay.domain.money import Currency
from autopay.domain.phase import Phase


def test_the_example_of_the_help_is_valid() -> None:
    scout, trader = read_launch_file(EXAMPLE)
    assert (scout.name, scout.phase, scout.allowance_atomic, scout.tx_limit) == ("scout", Phase.FULL, 1_000_000, 500)
    assert (scout.duration_s, [watch.every_s for watch in scout.watches]) == (86_400, [30])
    assert (trader.phase, trader.allowance_atomic) == (Phase.INTERACTIVE, 5_000_000)
    assert trader.currencies == (Currency.USDC, Currency.CASH)
    assert (trader.rules.buy_what_fits, trader.rules.thresholds[Currency.USDC]) == (True, 50_000)


def test_what_neither_agent_nor_defaults_say_is_as_launch_has_it() -> None:
    (agent,) = read_launch_file("[[agent]]\nname = 'a'")
    assert (agent.phase, agent.allowance_atomic, agent.tx_limit, agent.duration_s) == (Phase.DEMO, 1_000_000, 3, 3_600)
    assert (agent.currencies, agent.watches, agent.rules) == ((Currency.USDC,), (), Rules())


def problems_of(text: str) -> list[str]:
    with pytest.raises(LaunchFileError) as wrong:
        read_launch_file(text)
    return [str(each) for each in wrong.value.problems]


def test_everything_that_is_wrong_is_told_with_its_line_and_agent() -> None:
    text = """\
[defaults]
phase = "wild"
tx-limit = 0
[defautls]
[[agent]]
name = "a"
watches = ["http://x"]
queue-limit = 0
colour = 3
[[agent]]
name = "a"
allowance = 3
[[agent]]
name = "b/c"
thresholds = { eur = "1" }
[[agent]]
watches = [
  "http://127.0.0.1/x every=3s currency=CASH" ]
"""
    wanted = [
        "line 2: phase: 'wild' is not a phase",
        "line 3: tx-limit: 0 is not between 1 and 1000000",
        "line 4: 'defautls' is unknown here; did you mean 'defaults'?",
        "line 7, agent a: watches: the watch of http://x has no every=…",
        "line 8, agent a: queue-limit: 0: input should be greater than or equal to 1",
        "line 9, agent a: 'colour' is unknown here; known are phase,",
        "line 11, agent a: another agent of the file has that name",
        'line 12, agent a: allowance: an amount is a text like "1.00", not 3',
        "line 14, agent b/c: name: 'b/c' is not an agent's name",
        "line 15, agent b/c: thresholds: 'eur' is not a currency",
        "line 16, agent number 4: it has no name",
        "line 17, agent number 4: x wants CASH, the agent pays in USDC",
    ]
    found = problems_of(text)
    assert len(found) == len(wanted)
    assert [each for each, begins in zip(found, wanted, strict=True) if not each.startswith(begins)] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: write a table [[agent]] for each agent"),
        ("x =", "line 1: not TOML"),
        ("agent = 3", "line 1: write a table [[agent]]"),
        ("\n[[agent]]\nname = 'x'\nname = 'y'", "not TOML: Cannot overwrite a value"),
        ("[[agent]]\nname = 5", "line 2, agent number 1: name: a name is a text like"),
        ("[[agent]]\nname = 'a'\ncurrencies = []", "line 3, agent a: currencies: name at least one currency"),
        ("[[agent]]\nname = 'a'\nduration = '400d'", "line 3, agent a: duration: '400d' is longer than"),
        ("[[agent]]\nname = 'a'\nmax-in-flight = true", "line 3, agent a: max-in-flight: a whole number is wanted"),
    ],
)
def test_what_cannot_be_is_told(text: str, says: str) -> None:
    assert says in "\n".join(problems_of(text))
