"""Which events are sent to whom, under which name, and when again."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from autopay.adapters.postgres.reports.events import LedgerEvent
from autopay.domain.money import Currency
from autopay.domain.webhooks.events import (
    PLAIN,
    RETRIES_S,
    check_patterns,
    message_id,
    name_for,
    next_attempt_s,
    plain_name,
    probe_in_s,
    webhook_id,
)
from autopay.domain.webhooks.message import message_body

ONE, OTHER = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("kind", "values", "action", "name"),
    [
        pytest.param("agents.created", {}, None, "agent.launched", id="an agent is made"),
        pytest.param("operator_actions.created", {"outcome": "done"}, "pause", "agent.paused", id="it pauses itself"),
        pytest.param("operator_actions.created", {"outcome": "done"}, "resume", "agent.resumed", id="it goes on"),
        pytest.param("operator_actions.created", {"outcome": None}, "pause", None, id="a pause that is only ordered"),
        pytest.param("operator_actions.changed", {"outcome": "done"}, "pause", "agent.paused", id="a pause is done"),
        pytest.param("operator_actions.changed", {"outcome": "failed"}, "pause", None, id="a pause that failed"),
        pytest.param("operator_actions.changed", {"outcome": "done"}, "stop", None, id="another order"),
        pytest.param("approvals.created", {"status": "PENDING"}, None, "approval.needed", id="a person is asked"),
        pytest.param("approvals.changed", {"status": "DENIED"}, None, "approval.decided", id="a person says no"),
        pytest.param("approvals.changed", {"status": "CONSUMED"}, None, None, id="a yes is used"),
        pytest.param("transactions.created", {"status": "PENDING"}, None, "payment.signed", id="a payment is signed"),
        pytest.param("transactions.changed", {"sends": 1}, None, None, id="a payment is sent"),
        pytest.param("transactions.changed", {"status": "VERIFIED"}, None, "payment.final", id="a payment is final"),
        pytest.param("transactions.changed", {"status": "FAILED"}, None, "payment.failed", id="a payment failed"),
        pytest.param("transactions.adopted", {"status": "VERIFIED"}, None, None, id="a payment of long ago"),
        pytest.param(
            "api_request_logs.changed", {"delivery": "DELIVERED"}, None, "request.delivered", id="content came"
        ),
        pytest.param(
            "api_request_logs.changed",
            {"delivery": "UNDELIVERED", "outcome": "undelivered"},
            None,
            "payment.undelivered",
            id="content is owed",
        ),
        pytest.param("api_request_logs.changed", {"outcome": "refused"}, None, "request.refused", id="refused"),
        pytest.param("api_request_logs.changed", {"outcome": "delivered"}, None, None, id="its end, told before"),
        pytest.param("sessions.changed", {"status": "REVOKED"}, None, "session.ended", id="a session is revoked"),
        pytest.param("fences.created", {}, None, "ledger.fenced", id="a fence"),
        pytest.param("fences.changed", {"height": 9}, None, None, id="a fence's height"),
        pytest.param("fences.changed", {"lifted_at": "x"}, None, "ledger.unfenced", id="a fence is lifted"),
        pytest.param("webhook_endpoints.changed", {"disabled_at": "x"}, None, "webhook.disabled", id="disabled"),
        pytest.param("webhook_endpoints.changed", {"disabled_at": None}, None, None, id="enabled again"),
        pytest.param("api_tokens.created", {}, None, None, id="a table without plain names"),
    ],
)
def test_an_event_has_one_plain_name_or_none(
    kind: str, values: dict[str, object], action: str | None, name: str | None
) -> None:
    assert plain_name(kind, values, action) == name
    assert name is None or name in PLAIN
    assert name_for(["*"], kind, values, action) == name
    assert name_for(["ledger.*"], kind, values, action) == (
        name if name is not None and name.startswith("ledger.") else f"ledger.{kind}"
    )


def test_an_event_is_sent_once_however_often_it_is_wanted() -> None:
    final = ("transactions.changed", {"status": "VERIFIED"}, None)
    assert name_for(["payment.*", "payment.final", "ledger.*", "*"], *final) == "payment.final"
    assert name_for(["approval.*", "ledger.transactions.*"], *final) == "ledger.transactions.changed"
    assert name_for(["approval.*", "ledger.fenced"], *final) is None


@pytest.mark.parametrize(
    "pattern", ["", "payment", "payments.*", "payment.finally", "*.final", "Payment.final", "payment.*.*", "a b", "**"]
)
def test_a_pattern_that_never_matches_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no event"):
        check_patterns(["*", pattern])


def test_the_id_of_a_message_is_the_events_and_the_endpoints() -> None:
    assert message_id(ONE, ONE, 1) == message_id(ONE, ONE, 1)
    ids = {message_id(endpoint, chain, seq) for endpoint in (ONE, OTHER) for chain in (ONE, OTHER) for seq in (1, 2)}
    assert len(ids) == 8
    assert webhook_id(ONE) == "msg_00000000000000000000000000000001"


def test_attempts_are_spread_over_a_day_and_then_end() -> None:
    waits = [next_attempt_s(number + 1, None, 0.5) for number in range(len(RETRIES_S) + 1)]
    assert waits[-1] is None
    assert [round(each or 0) for each in waits[:-1]] == list(RETRIES_S)
    assert 24 * 3_600 <= sum(RETRIES_S) <= 25 * 3_600
    assert (next_attempt_s(1, None, 0) or 0) < (next_attempt_s(1, None, 1) or 0)


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        pytest.param(60.0, 60.0, id="a minute"),
        pytest.param(1.0, 5.0, id="less than its own time"),
        pytest.param(1e9, 3_600.0, id="for ever"),
        pytest.param(None, 5.0, id="nothing"),
    ],
)
def test_a_receiver_may_ask_for_more_time_within_bounds(asked: float | None, waits: float) -> None:
    assert next_attempt_s(1, asked, 0.5) == waits


def test_a_message_is_the_same_bytes_whenever_it_is_made() -> None:
    event = LedgerEvent(
        cursor="1:2",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        agent="trader",
        agent_id=ONE,
        seq=7,
        kind="transactions.changed",
        row_id=OTHER,
        request_id="r1",
        amount_atomic=1_500,
        currency=Currency.USDC,
        values={"status": "VERIFIED", "last_answer": "<b>\ud800</b>"},
    )
    body = message_body("payment.final", event)
    assert body == message_body("payment.final", event)
    said = json.loads(body)
    assert (said["type"], said["timestamp"]) == ("payment.final", "2026-01-02T00:00:00+00:00")
    assert (said["data"]["amount"], said["data"]["amount_atomic"], said["data"]["seq"]) == ("0.0015", 1_500, 7)


@pytest.mark.parametrize(
    ("failing", "begun_s_ago", "in_s"),
    [
        pytest.param(2, 1.0, None, id="two failures are not down"),
        pytest.param(3, 1.0, 299.0, id="down: a new one every five minutes"),
        pytest.param(3, 400.0, 0.0, id="now"),
        pytest.param(100, 400.0, 3_200.0, id="a hundred: every hour"),
        pytest.param(3, None, 0.0, id="none was ever tried"),
    ],
)
def test_one_that_is_down_gets_a_new_event_now_and_then(
    failing: int, begun_s_ago: float | None, in_s: float | None
) -> None:
    assert probe_in_s(failing, begun_s_ago) == in_s
