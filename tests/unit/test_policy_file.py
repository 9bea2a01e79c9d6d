"""A policy as a person writes it, and the line of whatever is wrong with it."""

from decimal import Decimal

import pytest

from autopay.domain.money import Currency
from autopay.domain.policy.file import EXAMPLE, read_policy
from autopay.domain.policy.policy import Policy
from autopay.domain.text.toml_file import TomlFileError

SELLER = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"


def test_the_example_says_what_it_shows() -> None:
    assert read_policy(EXAMPLE) == Policy(
        per_request_atomic=50_000,
        per_host_day_atomic=1_000_000,
        per_agent_day_atomic=5_000_000,
        hosts=("api.example.com", "*.trusted.dev"),
        currencies=(Currency.USDC, Currency.CASH),
        price_factor=Decimal(3),
        auto_approve_atomic=10_000,
        approval_expires_s=86_400,
    )


def test_nothing_is_the_built_in_policy() -> None:
    for text in ("", "# nothing\n", "[limits]\n[allow]\n"):
        assert read_policy(text) == Policy()


def test_every_way_to_write_a_table_is_read() -> None:
    wanted = Policy(per_request_atomic=1_500_000, per_host_day_atomic=2_000_000)
    for text in (
        '[limits]\nper_request = "1.5"\nper_host_day = "2"',
        '["limits"]\n"per_request" = "1.5"\nper_host_day = "2"',
        'limits.per_request = "1.5"\nlimits.per_host_day = "2"',
        'limits = { per_request = "1.5", per_host_day = "2" }',
    ):
        assert read_policy(text) == wanted


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("90m", 5_400), ("24h", 86_400), ("365d", 31_536_000)])
def test_times_have_units(text: str, seconds: int) -> None:
    assert read_policy(f'[approvals]\nexpire = "{text}"').approval_expires_s == seconds


@pytest.mark.parametrize("number", ["3", "2.5", '"2.5"'])
def test_a_price_factor_is_a_number(number: str) -> None:
    assert read_policy(f"[pins]\nprice_factor = {number}").price_factor == Decimal(number.strip('"'))


def test_hosts_are_read_in_any_case() -> None:
    assert read_policy('[allow]\nhosts = ["API.Example.com:8443"]').hosts == ("api.example.com:8443",)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("[limits\n", 1, "not TOML"),
        ("\n[limits]\nper_request = \n", 3, "not TOML"),
        ('[limits]\nper_request = "1', 2, "not TOML"),
        ('[limits]\nper_request = "1"\nper_request = "2"\n', 3, "not TOML"),
        ("[limit]\n", 1, "did you mean 'limits'?"),
        ("\n\n[colours]\n", 3, "known are limits, allow, pins, approvals"),
        ('[limits]\nper_requst = "1"\n', 2, "did you mean 'per_request'?"),
        ("[limits]\n\nzzz = 1\n", 3, "known are per_request, per_host_day, per_agent_day"),
        ('per_request = "1"\n', 1, "it belongs below [limits]"),
        ('[allow]\nper_request = "1"\n', 2, "it belongs below [limits]"),
        ('[pins]\nprice_factor = 3\nexpire = "1h"\n', 3, "it belongs below [approvals]"),
        ("\nlimits = 5\n", 2, "[limits] is a table"),
        ("\n[[limits]]\n", 2, "[limits] is a table"),
        ("[allow]\n[limits.per_request]\n", 2, "an amount is a text"),
        ("[limits]\n# why\nper_request = 0.05\n", 3, 'like "0.05"'),
        ('[limits]\nper_request = "-1"\n', 2, "amount of 0 or more"),
        ('[limits]\nper_request = "lots"\n', 2, "'lots' is not an amount"),
        ('[limits]\nper_request = "0.0000001"\n', 2, "finer than a base unit"),
        ('[limits]\nper_request = "18446744073709.551616"\n', 2, "does not fit 64 bits"),
        ('[limits]\nper_request = "1e999999"\n', 2, "is not an amount"),
        ('[limits]\nper_request = "nan"\n', 2, "is not an amount"),
        ('limits.per_request = "1"\nlimits.per_host_day = "x"\n', 2, "per_host_day: 'x'"),
        ('limits = { per_request = "x" }\n', 1, "per_request: 'x'"),
        ('[limits]\nper_request = "1"\n[ "limits2" ]\n', 3, "did you mean 'limits'?"),
        ('[allow]\n[limits]\n"per_agent_day" = "x"\n', 3, "per_agent_day: 'x'"),
        ('[allow]\nhosts = "a.dev"\n', 2, "a list of texts"),
        ('[allow]\nhosts = [\n  "a.dev",\n  "https://b.dev",\n]\n', 2, "'https://b.dev' is not a host"),
        ("[allow]\npayees = [1]\n", 2, "a list of texts"),
        ('[allow]\npayees = ["0x12"]\n', 2, "'0x12' is not a Solana address"),
        (f'[allow]\npayees = ["{SELLER}"]\ncurrencies = ["EUR"]\n', 3, "'USDC' or 'CASH'"),
        ("[pins]\nprice_factor = true\n", 2, "a number is wanted"),
        ("[pins]\nprice_factor = 0.5\n", 2, "greater than or equal to 1"),
        ("[pins]\nprice_factor = nan\n", 2, "finite"),
        ('[pins]\nprice_factor = "much"\n', 2, "decimal"),
        ("[approvals]\nexpire = 3600\n", 2, 'like "30m"'),
        ('[approvals]\nexpire = "1 day"\n', 2, "is not a duration like 30s"),
        ('[approvals]\nexpire = "59s"\n', 2, "59s is not between 60s and 365d"),
        ('[approvals]\nexpire = "366d"\n', 2, "366d is not between 60s and 365d"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(TomlFileError) as caught:
        read_policy(text)
    said = str(caught.value)
    assert said.startswith(f"line {line}: "), said
    assert says in said
    assert "\n" not in said
