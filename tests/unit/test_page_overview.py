"""What the overview says at first sight: what the agents do, and what needs a person."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from autopay.api.models.agents import AgentItem
from autopay.api.page.parts.attention import Found, things_to_do
from autopay.api.page.parts.endings import ends_soon
from autopay.api.page.parts.summary import headline
from autopay.domain.money import Currency
from autopay.domain.reconcile.restored import FenceRecord
from autopay.domain.report.flow import FlowRow
from autopay.domain.session import SessionRecord

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


def agent(name: str, state: str, why: str | None = None, *, live: bool = True) -> AgentItem:
    """An agent in that state that has spent nothing."""
    return AgentItem(
        name=name, phase="FULL", state=state, why=why, spendable=(), spent_today=(), spent=(), open=(), payments=0,
        open_payments=0, queued=0, held=0, live=live, wallet_address="wallet",
    )  # fmt: skip


def session(left: timedelta, duration: timedelta, **values: Any) -> SessionRecord:
    """A session that ends in that time."""
    known: dict[str, Any] = {
        "session_id": uuid4(), "agent": "trader", "status": "ACTIVE", "currency": Currency.USDC, "mint": "mint",
        "source_account": "account", "owner": "owner", "authority": "key", "allowance_atomic": 1, "reserved_atomic": 0,
        "payments": 0, "tx_limit": 9, "created_at": NOW, "expires_at": NOW + left,
        "duration_s": int(duration.total_seconds()),
    }  # fmt: skip
    return SessionRecord(**(known | values))


@pytest.mark.parametrize(
    ("agents", "sellers", "todos", "text"),
    [
        pytest.param([], 0, 0, "No agent has been launched yet.", id="none"),
        pytest.param(
            [agent("a", "running")], 1, 0, "1 agent buys data from 1 seller. Nothing needs you.", id="one-at-work"
        ),
        pytest.param(
            [agent("a", "running"), agent("b", "running"), agent("c", "paused")], 2, 1,
            "2 agents buy data from 2 sellers; 1 is paused. 1 thing needs you.", id="one-paused",
        ),
        pytest.param(
            [agent("a", "stopped"), agent("b", "stopped")], 0, 0,
            "No agent is at work; 2 are stopped. Nothing needs you.", id="all-stopped",
        ),
    ],
)  # fmt: skip
def test_the_headline_says_what_they_do_and_whether_to_act(
    agents: list[AgentItem], sellers: int, todos: int, text: str
) -> None:
    assert headline(agents, sellers, todos) == text


def test_what_stops_all_payments_comes_first() -> None:
    found = Found(
        agents=[agent("a", "paused", "0.009 USDC spendable"), agent("b", "terminated")],
        approvals=[],
        more_approvals=0,
        disputes=[],
        disputes_ended=0,
        sessions=[session(timedelta(minutes=5), timedelta(hours=1))],
        fence=FenceRecord(reason="restored from a backup", raised_at=NOW, height=None),
        problem=None,
    )
    todos = things_to_do(found, NOW)
    assert [todo.tone for todo in todos] == ["bad", "warn", "bad", "warn"]
    assert "restored" in todos[0].what
    assert (todos[1].what, todos[1].why) == ("a is paused", "0.009 USDC spendable")
    assert todos[2].command is not None
    assert "revive b" in todos[2].command
    assert todos[3].what == "A session of trader ends in 5 m"


@pytest.mark.parametrize(
    ("agents", "told"),
    [
        pytest.param([agent("a", "running", live=False), agent("b", "paused")], ["1 agent does not answer"], id="one"),
        pytest.param([agent(name, "running", live=False) for name in "ab"], ["2 agents do not answer"], id="two"),
        pytest.param([agent("a", "stopped", live=False)], [], id="stopped"),
        pytest.param([agent(f"a{n}", "running", live=False) for n in range(21)], [], id="too-many-to-be-asked"),
    ],
)
def test_agents_that_do_not_answer_are_told(agents: list[AgentItem], told: list[str]) -> None:
    todos = things_to_do(Found(agents, [], 0, [], 0, [], None, None), NOW)
    assert [todo.what for todo in todos if todo.what.endswith("answer")] == told


@pytest.mark.parametrize(
    ("left", "duration", "soon"),
    [
        pytest.param(timedelta(minutes=9), timedelta(hours=1), True, id="ten-minutes-at-least"),
        pytest.param(timedelta(minutes=30), timedelta(hours=1), False, id="half-of-an-hour-is-left"),
        pytest.param(timedelta(hours=16), timedelta(days=7), True, id="last-tenth"),
        pytest.param(timedelta(days=2), timedelta(days=90), False, id="a-day-at-most"),
        pytest.param(timedelta(seconds=-1), timedelta(hours=1), False, id="ended"),
    ],
)
def test_a_session_ends_soon_in_its_last_tenth(left: timedelta, duration: timedelta, soon: bool) -> None:
    assert ends_soon(session(left, duration), NOW) is soon


def test_a_session_that_pays_nothing_does_not_end_soon() -> None:
    soon = timedelta(minutes=5)
    assert not ends_soon(session(soon, soon, status="REVOKED"), NOW)
    assert not ends_soon(session(soon, soon, granted=False), NOW)


def ended(outcome: str, endpoint: str = "/x") -> FlowRow:
    """A request of trader that has ended like that."""
    return FlowRow(
        key="ap_1", agent="trader", request_id="one", url="http://api/x", endpoint=endpoint, at=NOW, ended_at=NOW,
        outcome=outcome, delivery="NONE", has_terms=False, waits_for_person=False, http_status=404, error_code="http",
        error_message="the seller answers HTTP 404", number=None, sends=None, status=None, last_answer=None,
        payment_error=None, amount_atomic=None, currency=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        pytest.param(["failed"] * 3, True, id="three-in-a-row"),
        pytest.param(["failed", "refused", "undelivered", "delivered"], True, id="of-any-kind"),
        pytest.param(["failed", "failed", "delivered", "failed"], False, id="one-came-between"),
        pytest.param(["failed", "failed"], False, id="too-few"),
    ],
)
def test_data_that_is_asked_for_in_vain_is_told(outcomes: list[str], told: bool) -> None:
    recent = [ended(outcome) for outcome in outcomes]
    todos = things_to_do(Found([], [], 0, [], 0, [], None, None, recent), NOW)
    assert [todo.what for todo in todos] == (["trader gets nothing from /x"] if told else [])
