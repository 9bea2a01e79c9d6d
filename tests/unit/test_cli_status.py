"""What an agent's status says to people: what would help, in commands to type."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import typer

from autopay.cli.agent.rules import changed_rules, thresholds_of
from autopay.cli.agent.status_page import status_page
from autopay.client.agents.advice import advice, is_paused_by_hand
from autopay.client.agents.agent_view import AgentView, agent_view
from autopay.client.agents.grant_hint import grant_command
from autopay.client.requests.progress import describe_payment, describe_queued
from autopay.domain.agent.records import AgentRecord, AgentSummary, BalanceRecord, OpenQuestion
from autopay.domain.agent.spec import Rules, Watch
from autopay.domain.agent.state.breakers import FAULTS
from autopay.domain.agent.status import Spendable
from autopay.domain.money import Currency
from autopay.domain.payment.payment import Conflict, Dead, NoAnswer, Payment, Rejected
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import Policy
from autopay.domain.policy.records import PolicyInForce
from autopay.domain.request import RequestStatus
from autopay.domain.session import SessionRecord
from autopay.domain.text.times import ago, span, until
from tests.unit.agent_driver import PRICE, START, A, AgentDriver
from tests.unit.test_command_lines import parse


def seen(driver: AgentDriver, **ledger: object) -> AgentView:
    """As `status` shows it: without a ledger, unless something of it is given."""
    return agent_view(driver.status(), summary(driver, **ledger) if ledger else None)


def summary(driver: AgentDriver, **more: object) -> AgentSummary:
    """What the ledger knows of it: a session with money enough and little to tell, unless said otherwise."""
    (known,) = driver.state.balances.readings
    policy = PolicyInForce(agent="buyer", policy=Policy(), own=True, set_at=None, spent_today_atomic=0)
    reading = BalanceRecord(
        currency=known.currency,
        balance_atomic=known.balance_atomic,
        threshold_atomic=2 * PRICE,
        status="SUFFICIENT",
        snapshot_at=driver.now,
    )
    values: dict[str, Any] = {
        "agent": AgentRecord(agent_id=UUID(int=1), name="buyer", phase="FULL", wallet_address=""),
        "at": driver.now,
        "spent_atomic": {},
        "spent_today_atomic": {},
        "open_atomic": {},
        "payments": 0,
        "open_payments": 0,
        "ended": {},
        "waiting": frozenset(),
        "begun": frozenset(),
        "questions": (),
        "pause": None,
        "sessions": (session(),),
        "last_sessions": (session(),),
        "readings": (reading,),
        "policy": policy,
    }
    return AgentSummary.model_validate(values | more)


def session(**more: object) -> SessionRecord:
    """An open session of 1 USDC and 100 payments."""
    values: dict[str, Any] = {
        "session_id": UUID(int=2),
        "agent": "buyer",
        "status": "ACTIVE",
        "currency": Currency.USDC,
        "mint": "mint",
        "source_account": "account",
        "owner": "owner",
        "authority": "key",
        "allowance_atomic": 1_000_000,
        "reserved_atomic": 0,
        "payments": 0,
        "tx_limit": 100,
        "created_at": START - timedelta(hours=1),
        "expires_at": START + timedelta(hours=23),
        "duration_s": 86_400,
    }
    return SessionRecord.model_validate(values | more)


def lines_of(driver: AgentDriver, **ledger: object) -> list[str]:
    """The page's lines, without its tables."""
    return [each for each in status_page(seen(driver, **ledger), driver.now) if isinstance(each, str)]


def read(driver: AgentDriver, spendable: int, **more: object) -> None:
    """A reading that is limited by something else than the balance."""
    values = {"currency": "USDC", "balance_atomic": spendable, "spendable_atomic": spendable, "limit": "allowance"}
    driver.state.record_balances([Spendable.model_validate(values | more)], driver.now, driver.now)


def test_an_agent_that_is_well_needs_nothing() -> None:
    assert advice(seen(AgentDriver())) == []


def test_a_pause_by_hand_is_ended_by_resume() -> None:
    driver = AgentDriver()
    driver.state.pause = "the audit"
    assert is_paused_by_hand(driver.status())
    assert advice(seen(driver)) == ["to let it go on: autopay resume buyer"]
    assert lines_of(driver)[0] == "buyer is paused: the audit (phase FULL)"


def test_an_allowance_that_is_used_up_needs_a_grant() -> None:
    driver = AgentDriver()
    read(driver, PRICE, account="account")
    assert not is_paused_by_hand(driver.status())
    (line,) = advice(seen(driver))
    assert line.startswith("0.001 USDC spendable by its allowance on chain, 0.002 USDC needed: autopay session grant")
    assert line.endswith(" buyer --allowance 1 --tx-limit 10000 --duration 7d")


def money_lines(policy: Policy, spent_today: int, **more: object) -> list[str]:
    held = PolicyInForce(agent="buyer", policy=policy, own=True, set_at=None, spent_today_atomic=spent_today)
    return [
        each for each in lines_of(AgentDriver(), policy=held, **more) if "can spend" in each or "policy show" in each
    ]


def test_what_an_agent_can_spend_is_the_least_of_its_limits_and_names_them_all() -> None:
    assert money_lines(Policy(per_agent_day_atomic=15 * PRICE), spent_today=4 * PRICE) == [
        "can spend 0.011 USDC, by its policy's limit a day, which begins anew at 00:00 UTC (session budget 1, policy's "
        "limit a day 0.011, balance 1)"
    ]
    used_up = money_lines(Policy(per_agent_day_atomic=PRICE), spent_today=2 * PRICE)
    assert used_up[0].endswith("its policy, and what is used of it: autopay policy show buyer")
    assert used_up[1].startswith("can spend 0 USDC, by its policy's limit a day")
    line = money_lines(Policy(currencies=(Currency.CASH,)), spent_today=0)[-1]
    assert line.startswith("can spend 0 USDC, by its policy, which does not allow it (")


@pytest.mark.parametrize(
    ("reserved", "day", "seen_allowance", "limit", "amount"),
    [
        pytest.param(0, None, None, "balance", 900_000, id="the account holds less than the session may spend"),
        pytest.param(400_000, None, None, "session_budget", 600_000, id="reserved money is not the session's any more"),
        pytest.param(400_000, 50_000, None, "policy_day", 50_000, id="the policy's day"),
        pytest.param(0, None, 7_000, "allowance", 7_000, id="the chain allows less than the ledger"),
        pytest.param(999_999_999, None, None, "session_budget", 0, id="never below nothing"),
    ],
)
def test_one_rule_tells_which_limit_binds(
    reserved: int, day: int | None, seen_allowance: int | None, limit: str, amount: int
) -> None:
    driver = AgentDriver()
    limit_seen = "balance" if seen_allowance is None else "allowance"
    read(driver, seen_allowance or 900_000, balance_atomic=900_000, limit=limit_seen, account="account")
    policy = PolicyInForce(
        agent="buyer", policy=Policy(per_agent_day_atomic=day), own=True, set_at=None, spent_today_atomic=0
    )
    view = seen(driver, sessions=(session(reserved_atomic=reserved),), policy=policy)
    (record,) = view.spendable
    assert (record.limit, record.spendable_atomic) == (limit, amount)
    (told,) = view.as_json()["spendable"]
    assert (told["limit"], told["spendable_atomic"], told["limits"][limit]) == (limit, amount, amount)
    assert told["account"] == "account"


def test_what_has_ended_meanwhile_is_not_under_way_and_what_was_answered_not_asked() -> None:
    driver = AgentDriver()
    for name in ("ended", "goes-on", "approved", "asked"):
        driver.queue(name, A)
    driver.start()
    for name in ("approved", "asked"):
        driver.hold(name, "approval")
    question = OpenQuestion(request_id="asked", since=START, why="above 0")
    view = seen(
        driver,
        begun=frozenset({"goes-on", "approved", "asked", "not-heard-of"}),
        waiting=frozenset({"accepted"}),
        questions=(question,),
        ended={RequestStatus.DELIVERED: 1},
        payments=1,
        spent_atomic={Currency.USDC: PRICE},
    ).status
    assert view.in_flight == ("goes-on", "approved", "not-heard-of")
    assert [each.request_id for each in view.held] == ["asked"]
    assert (view.queued, view.delivered, view.payments) == (("accepted",), 1, 1)
    assert view.spent_atomic == {Currency.USDC: PRICE}


@pytest.mark.parametrize(
    ("last", "phase", "needed", "says"),
    [
        pytest.param(None, Phase.FULL, PRICE, "--allowance 1 --tx-limit 10000 --duration 7d", id="by its phase"),
        pytest.param(
            None, Phase.DEMO, 3_000_000, "--allowance 6 --tx-limit 3 --duration 1h", id="twice what is needed"
        ),
        pytest.param(
            session(payments=200, tx_limit=200),
            Phase.INTERACTIVE,
            PRICE,
            "--allowance 1 --tx-limit 400 --duration 24h",
            id="its payments are used up",
        ),
        pytest.param(
            session(allowance_atomic=5_000_000, duration_s=30 * 86_400),
            Phase.FULL,
            PRICE,
            "--allowance 5 --tx-limit 10000 --duration 30d",
            id="no less than the last one",
        ),
        pytest.param(
            session(hosts=("a.example", "*.b.example"), currency=Currency.CASH),
            Phase.DEMO,
            PRICE,
            "--allowance 1 --tx-limit 100 --duration 24h --currency CASH --host a.example --host '*.b.example'",
            id="for the same hosts",
        ),
        pytest.param(
            session(payments=1_000_000, tx_limit=1_000_000, duration_s=400 * 86_400),
            Phase.FULL,
            PRICE,
            "--allowance 1 --tx-limit 1000000 --duration 366d",
            id="no more than is possible",
        ),
    ],
)
def test_a_proposed_grant_names_values_that_end_the_shortage(
    last: SessionRecord | None, phase: Phase, needed: int, says: str
) -> None:
    currency = Currency.USDC if last is None else last.currency
    line = grant_command("buyer", phase, currency, needed, last)
    assert line == f"autopay session grant buyer {says}"
    assert parse(line) == "session grant"


def test_a_request_that_costs_more_than_there_is_asks_for_its_price() -> None:
    driver = AgentDriver()
    driver.know_price(A, 3_000_000)
    driver.read(1_000_000)
    driver.queue("dear", A)
    (line,) = advice(seen(driver, waiting=frozenset({"dear"}), last_sessions=(session(),)))
    assert line.startswith("1 USDC spendable by its session budget, 3 USDC needed: autopay session grant buyer ")
    assert "--allowance 6 " in line


def test_money_that_came_after_the_last_reading_needs_no_grant() -> None:
    driver = AgentDriver()
    read(driver, PRICE, account="account", balance_atomic=900_000)
    newer = session(created_at=driver.now + timedelta(seconds=1))
    assert advice(seen(driver, sessions=(newer,))) == [
        "there is enough by now, and it goes on when it reads its balances next; at once: autopay resume buyer"
    ]


def test_a_session_that_its_owner_has_not_signed_is_submitted_and_not_granted_again() -> None:
    driver = AgentDriver()
    read(driver, 0, limit="none", session_problem="the agent's session waits for its owner's signature")
    (line,) = advice(seen(driver, sessions=(), last_sessions=(session(granted=False),)))
    assert line.endswith(f"autopay session submit {UUID(int=2)}")


def test_a_session_that_ended_needs_a_grant_in_its_currency() -> None:
    driver = AgentDriver()
    read(driver, 0, limit="none", session_problem="the session has expired", currency="CASH")
    (line,) = advice(seen(driver))
    assert line.startswith("the session has expired, ")
    assert line.endswith("session grant buyer --allowance 1 --tx-limit 10000 --duration 7d --currency CASH")


def test_a_balance_that_is_used_up_needs_a_transfer_or_test_money() -> None:
    driver = AgentDriver(funds=PRICE)
    assert advice(seen(driver))[0].endswith("send 0.001 USDC or more to account")
    assert advice(seen(driver), on_localnet=True)[0].endswith("autopay fund buyer 1")


def test_both_a_person_and_money_can_hold_an_agent_up() -> None:
    driver = AgentDriver(funds=0)
    driver.state.pause = "the audit"
    assert [line.split(":")[0] for line in advice(seen(driver))] == [
        "to let it go on",
        "0 USDC spendable by its balance, 0.002 USDC needed",
    ]


def test_an_open_breaker_is_shown_with_its_next_probe() -> None:
    driver = AgentDriver()
    for _ in range(FAULTS):
        driver.state.record_balances_fault(driver.now)
    assert "to ask the chain at once: autopay resume buyer" in advice(seen(driver))
    assert "the chain does not answer: nothing is sent to it; tried again at 00:00:30 UTC, in 30 s" in lines_of(driver)


def test_a_held_request_says_whose_word_it_waits_for() -> None:
    driver = AgentDriver()
    driver.queue("held", A)
    driver.start()
    driver.hold("held", "approval")
    driver.wait(90)
    assert any("held has waited 1 m 30 s for a person (autopay approvals buyer)" in line for line in lines_of(driver))
    assert "payments wait for a person: autopay approvals buyer" in advice(seen(driver))


def test_watches_are_shown_with_last_and_next_purchase_and_price() -> None:
    watch = Watch(name="w", url=A, every_s=60)
    driver = AgentDriver(watch)
    driver.wait(60)
    assert driver.due() == ["w"]
    (request_id,) = driver.start()
    driver.delivered(request_id)
    driver.wait(20)
    (shown,) = driver.status().watches
    assert (shown.last, shown.price_atomic) == (START + timedelta(seconds=60), PRICE)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (45.4, "45 s"), (60, "1 m"), (200, "3 m 20 s"), (3_600, "1 h"), (200_000, "2 d 7 h"), (-5, "0 s")],
)
def test_a_span_is_its_largest_two_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_moments_are_told_from_now() -> None:
    now = START
    assert (ago(now, now), until(now, now)) == ("now", "now")
    assert (ago(now - timedelta(seconds=90), now), until(now + timedelta(hours=2), now)) == ("1 m 30 s ago", "in 2 h")


def test_rules_change_only_where_they_are_told_to() -> None:
    before = Rules(max_in_flight=3, thresholds={Currency.USDC: 7, Currency.CASH: 8})
    after = changed_rules(before, {"queue_limit": 9}, thresholds_of(["usdc=0.05"]))
    assert after == before.model_copy(
        update={"queue_limit": 9, "thresholds": {Currency.USDC: 50_000, Currency.CASH: 8}}
    )


def test_a_rule_that_cannot_be_names_its_option() -> None:
    with pytest.raises(typer.BadParameter) as wrong:
        changed_rules(Rules(), {"balance_every_s": 0}, {})
    assert wrong.value.param_hint == "--balance-every"
    for text in ("usdc", "usdc=", "eur=1", "usdc=-1"):
        with pytest.raises(typer.BadParameter, match="is not a threshold like"):
            thresholds_of([text])


def test_what_a_payment_waits_for_is_told_from_its_attempts() -> None:
    signed = Payment().with_attempt(1)
    refused = signed.with_answer(Conflict(http_status=404))
    cases = [
        (signed, "payment 1 is signed and handed to the seller; waiting for its answer"),
        (
            signed.with_answer(NoAnswer(reason="reset")),
            "no content yet (no answer); the same payment is sent again, 1 of 4",
        ),
        (
            signed.with_answer(Rejected(http_status=500, reason="")),
            "no content yet (HTTP 500); the same payment is sent",
        ),
        (
            refused,
            "the seller refused the payment (HTTP 404); waiting for proof that nothing was paid: at most about 1 m",
        ),
        (
            refused.with_verdict(Dead(reason="expired_unsettled")),
            "payment 1 failed (expired_unsettled): it is proven that nothing was paid; the request ends",
        ),
    ]
    for payment, says in cases:
        assert payment.last is not None
        assert describe_payment(payment, payment.last, 60).startswith(says)


def test_what_a_request_waits_for_is_told_by_its_agent() -> None:
    driver = AgentDriver(max_in_flight=1)
    for name in ("one", "two", "three"):
        driver.queue(name, A)
    driver.start()
    assert describe_queued(driver.status(), "one") == "the seller is asked for its terms"
    assert describe_queued(driver.status(), "three") == "waits in the queue (place 2 of 2): all slots are taken"
    driver.hold("one", "chain", error="chain_unavailable")
    assert describe_queued(driver.status(), "one") == "waits for the chain: chain_unavailable"
    driver.state.pause = "the audit"
    assert describe_queued(driver.status(), "two") == "waits in the queue (place 1 of 2): buyer is paused: the audit"
