"""How the page writes values, and that nothing of others reaches a browser as markup."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from autopay.api.page.frame import templating, words
from autopay.api.page.frame.templating import TEMPLATES

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TEMPLATE_FILES = sorted((Path(templating.__file__).parents[1] / "templates").rglob("*.html"))


@pytest.mark.parametrize(
    ("atomic", "text"),
    [
        pytest.param(0, "0.00", id="nothing"),
        pytest.param(1, "0.000001", id="a-base-unit"),
        pytest.param(2400, "0.0024", id="as-exact-as-it-is"),
        pytest.param(500_000, "0.50", id="two-decimals-at-least"),
        pytest.param(1_204_500_000, "1,204.50", id="thousands-apart"),
        pytest.param(-2400, "-0.0024", id="less-than-nothing"),
    ],
)
def test_an_amount_is_exact_and_reads_like_money(atomic: int, text: str) -> None:
    assert words.amount(atomic) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("plain text, ü and 価格", "plain text, ü and 価格", id="letters-of-all-scripts"),
        pytest.param("pay\u202eyap", "pay⟨U+202E⟩yap", id="bidirectional-override"),
        pytest.param("a\u2066b\u2069", "a⟨U+2066⟩b⟨U+2069⟩", id="bidirectional-isolate"),
        pytest.param("1\u200b000", "1⟨U+200B⟩000", id="no-width"),
        pytest.param("\x1b[31mred\x00", "⟨U+001B⟩[31mred⟨U+0000⟩", id="control"),
        pytest.param("a\u00a0b", "a⟨U+00A0⟩b", id="a-space-that-is-none"),
        pytest.param("one\ntwo\tthree", "one⏎two⇥three", id="one-line"),
        pytest.param("\U000e0041", "⟨U+E0041⟩", id="tag-character"),
        pytest.param("x" * 200, "x" * 160 + "…", id="bounded"),
    ],
)
def test_what_would_not_be_seen_in_text_of_others_is_seen(text: str, shown: str) -> None:
    assert words.visible(text) == shown


def test_content_keeps_its_lines() -> None:
    assert words.visible_lines("a\r\n\tb\x07") == "a\n\tb⟨U+0007⟩"


def test_text_of_others_is_never_markup() -> None:
    hostile = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
    shown = TEMPLATES.from_string('{{ text | visible }}<i title="{{ text | visible }}">').render(text=hostile)
    assert "<script" not in shown
    assert "<img" not in shown
    assert shown.count("<i ") == 1
    assert shown.count('"') == 2


@pytest.mark.parametrize("path", TEMPLATE_FILES, ids=lambda path: path.name)
def test_no_template_marks_anything_as_safe_or_has_a_script_of_its_own(path: Path) -> None:
    text = path.read_text()
    for wrong in ("|safe", "| safe", "autoescape", "Markup", " style=", "javascript:", "hx-on", "hx-vals"):
        assert wrong not in text, wrong
    assert text.count("<script") == (1 if path.name == "base.html" else 0)


def test_every_template_can_be_read() -> None:
    for path in TEMPLATE_FILES:
        TEMPLATES.get_template(path.name)


def test_times_are_relative_and_exact() -> None:
    earlier = datetime(2026, 11, 29, 11, 58, 55, 250_000, tzinfo=UTC)
    assert words.relative(earlier, NOW) == "1 m 5 s ago"
    assert words.relative(NOW, earlier) == "in 1 m 5 s"
    assert words.exact(earlier) == "2026-11-29 11:58:55.250 UTC"
    assert words.short(earlier) == "29 Nov, 11:58:55"
    assert words.iso(earlier) == "2026-11-29T11:58:55.250+00:00"
