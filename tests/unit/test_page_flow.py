"""How far a request is on its way through the six steps, and in which words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from autopay.domain.money import Currency
from autopay.domain.report.flow import FlowRow, flow_text, flow_tone, steps_of

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


def row(**values: Any) -> FlowRow:
    """A request that has just begun, but for these values."""
    known: dict[str, Any] = {
        "key": "ap_1", "agent": "trader", "request_id": "one", "url": "http://api/x", "endpoint": "/x", "at": AT,
        "ended_at": None, "outcome": None, "delivery": "NONE", "has_terms": False, "waits_for_person": False,
        "http_status": None, "error_code": None, "error_message": None, "number": None, "sends": None, "status": None,
        "last_answer": None, "payment_error": None, "amount_atomic": None, "currency": None,
    }  # fmt: skip
    return FlowRow(**(known | values))


PAID: dict[str, Any] = {"has_terms": True, "number": 1, "status": "PENDING", "sends": 0, "amount_atomic": 1000,
                        "currency": Currency.USDC}  # fmt: skip
MARKS = {"done": "x", "now": ">", "wait": "w", "fail": "!", "": "."}


@pytest.mark.parametrize(
    ("values", "marks", "tone", "text"),
    [
        pytest.param({}, ">.....", "busy", "the seller is asked", id="fetch"),
        pytest.param({"has_terms": True}, "xx>...", "busy", "terms are read", id="parsed"),
        pytest.param(
            {"has_terms": True, "waits_for_person": True},
            "xxw...",
            "warn",
            "a person's approval",
            id="a-person-is-asked",
        ),
        pytest.param(PAID, "xxx>..", "busy", "about to leave", id="signed"),
        pytest.param(PAID | {"sends": 1}, "xxx>..", "busy", "handed to the seller", id="sent"),
        pytest.param(PAID | {"sends": 3}, "xxx>..", "busy", "sent 3 times, always the same", id="sent-again"),
        pytest.param(
            PAID | {"sends": 1, "last_answer": "no_answer", "status": "RETRYING"},
            "xxxxw.",
            "warn",
            "no answer",
            id="not-known",
        ),
        pytest.param(
            PAID | {"sends": 1, "last_answer": "delivered", "delivery": "DELIVERED", "status": "SUCCESS"},
            "xxxx>.",
            "busy",
            "delivered; waits for the chain",
            id="delivered",
        ),
        pytest.param(PAID | {"status": "VERIFIED"}, "xxxxx>", "busy", "asked again", id="final-without-content"),
        pytest.param(
            PAID | {"status": "FAILED", "payment_error": "expired"}, "xx>...", "busy", "cost nothing", id="failed"
        ),
        pytest.param(
            PAID | {"ended_at": AT, "outcome": "delivered", "status": "VERIFIED"},
            "xxxxxx",
            "good",
            "paid once",
            id="done",
        ),
        pytest.param(
            PAID | {"ended_at": AT, "outcome": "undelivered", "http_status": 500},
            "xxx!xx",
            "bad",
            "(HTTP 500)",
            id="undelivered",
        ),
        pytest.param(PAID | {"ended_at": AT, "outcome": "failed"}, "xxxx!x", "bad", "nothing was paid", id="not-paid"),
        pytest.param(
            {"ended_at": AT, "outcome": "refused", "error_message": "too dear"},
            "x!...x",
            "bad",
            "too dear",
            id="refused",
        ),
        pytest.param({"ended_at": AT, "outcome": "free"}, "x....x", "good", "asked for nothing", id="free"),
        pytest.param({"ended_at": AT, "outcome": "fresh"}, ".....x", "good", "nothing was bought", id="fresh"),
    ],
)
def test_a_request_shows_its_steps(values: dict[str, Any], marks: str, tone: str, text: str) -> None:
    found = row(**values)
    assert "".join(MARKS[step.mark] for step in steps_of(found)) == marks
    assert flow_tone(found) == tone
    assert text in flow_text(found)
