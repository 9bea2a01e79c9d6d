"""What option values mean, and what is said about those that mean nothing."""

from pathlib import Path

import pytest
import typer

from autopay.cli.agent.watch import watch_of, watches_of
from autopay.cli.terminal import options
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.session import session_scope


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("30s", 30), ("200ms", 0.2), ("2m", 120), ("1.5h", 5400), ("7d", 604_800), (" 1H ", 3600)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert options.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "1 h", "-5s", "1w", "1e3", "inf", "nan", "5s5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is not a duration"):
        options.duration_s(text)


@pytest.mark.parametrize("text", ["0", "500ms", "1.5s", "0.01m"])
def test_a_session_lasts_whole_seconds(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="whole number of seconds"):
        options.whole_seconds(text)


@pytest.mark.parametrize(("text", "atomic"), [("1", 1_000_000), ("0.000001", 1), ("1.00", 1_000_000)])
def test_an_amount_is_in_token_units(text: str, atomic: int) -> None:
    assert options.amount_atomic(text) == atomic


@pytest.mark.parametrize("text", ["0", "-1", "", "one", "0.0000001", "NaN", "Infinity", "1e30"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        options.amount_atomic(text)


@pytest.mark.parametrize(
    "text", ["ftp://x/y", "example.com", "http://", "", "https:///x", "http://x/a b", "http://x/\x1b"]
)
def test_what_is_no_http_url_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        options.http_url(text)


def test_a_watch_reads_every_field() -> None:
    watch = watch_of("https://a.example/x every=2m max-price=0.01 method=post currency=cash weight=2.5 name=x")
    assert watch.url == "https://a.example/x"
    assert (watch.every_s, watch.max_price_atomic, watch.method) == (120, 10_000, "POST")
    assert (watch.currency, watch.weight, watch.name) == (Currency.CASH, 2.5, "x")


def test_a_watch_without_a_name_is_called_after_its_path() -> None:
    assert watch_of("https://a.example/api/market-feed?pair=BTC every=1s").name == "api-market-feed-pair-BTC"
    assert watch_of("https://a.example:80 every=1s").name == "a-example-80"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an http"),
        ("https://a.example", "has no every="),
        ("https://a.example every=", "is not one of"),
        ("https://a.example every=5s colour=red", "'colour=red' in a watch is not one of"),
        ("https://a.example every=5s weight=0", "weight"),
        ("https://a.example every=5s weight=heavy", "weight"),
        ("https://a.example every=5s max-price=0", "above 0"),
        ("https://a.example every=5s name=a/b", "not a watch's name"),
        ("https://a.example every=500d", "every"),
        ("https://a.example 'every=5s", "quote"),
    ],
)
def test_a_watch_that_means_nothing_is_refused(text: str, says: str) -> None:
    with pytest.raises(typer.BadParameter) as refused:
        watch_of(text)
    assert says in str(refused.value)


def test_two_watches_may_not_share_a_name() -> None:
    with pytest.raises(typer.BadParameter, match="two watches are called"):
        watches_of(["https://a.example/x every=5s", "https://b.example/x every=5s"])


def test_headers_are_names_and_values() -> None:
    assert options.headers_of(["Accept: text/plain", "X-Time:12:30"]) == {"Accept": "text/plain", "X-Time": "12:30"}


@pytest.mark.parametrize(
    "line", ["Accept", ": x", "Bad Name: x", "A: b\r\nC: d", "X-PAYMENT: x", "Payment-Signature: x"]
)
def test_what_is_no_header_of_the_callers_is_refused(line: str) -> None:
    with pytest.raises(typer.BadParameter):
        options.headers_of([line])


def test_a_body_is_json_from_the_command_line_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text('{"a": 1}')
    assert options.json_body('{"a": 1}') == b'{"a": 1}'
    assert options.json_body(f"@{tmp_path / 'body.json'}") == b'{"a": 1}'
    for wrong in ("{", f"@{tmp_path / 'missing'}"):
        with pytest.raises(typer.BadParameter):
            options.json_body(wrong)


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a b", "x" * 61])
def test_what_is_no_agents_name_is_refused(name: str) -> None:
    with pytest.raises(typer.BadParameter):
        options.agent_name(name)


@pytest.mark.parametrize(
    ("phase", "given", "scope"),
    [
        pytest.param(Phase.DEMO, (None, None), (3, 3_600), id="a demo ends soon"),
        pytest.param(Phase.INTERACTIVE, (None, None), (100, 86_400), id="a day of questions"),
        pytest.param(Phase.FULL, (None, None), (10_000, 7 * 86_400), id="a week by itself"),
        pytest.param(Phase.FULL, (5, None), (5, 7 * 86_400), id="what is given holds"),
        pytest.param(Phase.DEMO, (None, 60), (3, 60), id="each by itself"),
    ],
)
def test_what_a_session_allows_suits_the_phase_unless_it_is_given(
    phase: Phase, given: tuple[int | None, int | None], scope: tuple[int, int]
) -> None:
    assert session_scope(phase, *given) == scope
