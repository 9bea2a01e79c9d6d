"""What an agent's status says to people: what would help, in commands to type."""

from datetime import timedelta

import pytest
import typer

from autopay.cli.agent.advice import advice, is_paused_by_hand
from autopay.cli.agent.rules import changed_rules, thresholds_of
from autopay.cli.agent.status_page import LedgerView, status_page
from autopay.cli.connect.formats import ago, span, until
from autopay.cli.request.progress import describe_payment, describe_queued
from autopay.domain.agent.breakers import FAULTS
from autopay.domain.agent.spec import Rules, Watch
from autopay.domain.agent.status import Spendable
from autopay.domain.money import Currency
from autopay.domain.payment.payment import Conflict, Dead, NoAnswer, Payment, Rejected
from autopay.domain.policy.policy import Policy
from autopay.domain.policy.records import PolicyInForce
from tests.unit.agent_driver import PRICE, START, A, AgentDriver


def lines_of(driver: AgentDriver) -> list[str]:
    """The page's lines, without its tables."""
    return [each for each in status_page(driver.status(), LedgerView(), driver.now) if isinstance(each, str)]


def read(driver: AgentDriver, spendable: int, **more: object) -> None:
    """A reading that is limited by something else than the balance."""
    values = {"currency": "USDC", "balance_atomic": spendable, "spendable_atomic": spendable, "limit": "allowance"}
    driver.state.record_balances([Spendable.model_validate(values | more)], driver.now, driver.now)


def test_an_agent_that_is_well_needs_nothing() -> None:
    assert advice(AgentDriver().status()) == []


def test_a_pause_by_hand_is_ended_by_resume() -> None:
    driver = AgentDriver()
    driver.state.pause = "the audit"
    assert is_paused_by_hand(driver.status())
    assert advice(driver.status()) == ["to let it go on: autopay resume buyer"]
    assert lines_of(driver)[0] == "buyer is paused: the audit (phase FULL)"


def test_an_allowance_that_is_used_up_needs_a_grant() -> None:
    driver = AgentDriver()
    read(driver, PRICE, account="account")
    assert not is_paused_by_hand(driver.status())
    (line,) = advice(driver.status())
    assert line == "0.001 USDC spendable by its allowance, 0.002 USDC needed: autopay session grant buyer --allowance 1"


def money_lines(policy: Policy, spent_today: int) -> list[str]:
    held = PolicyInForce(agent="buyer", policy=policy, own=True, set_at=None, spent_today_atomic=spent_today)
    page = status_page(AgentDriver().status(), LedgerView(policy=held), START)
    return [each for each in page if isinstance(each, str) and ("can spend" in each or "policy show" in each)]


def test_what_an_agent_can_spend_counts_the_limit_a_day_of_its_policy() -> None:
    assert money_lines(Policy(per_agent_day_atomic=5 * PRICE), spent_today=4 * PRICE) == [
        "can spend 0.001 USDC, by its policy's limit a day, which begins anew at 00:00 UTC"
    ]
    used_up = money_lines(Policy(per_agent_day_atomic=PRICE), spent_today=2 * PRICE)
    assert used_up[0].startswith("can spend 0 USDC, by its policy's limit a day")
    assert used_up[1].endswith("autopay policy show buyer")
    (line,) = money_lines(Policy(currencies=(Currency.CASH,)), spent_today=0)
    assert line == "can spend 0 USDC: its policy does not allow USDC"


def test_a_limit_a_day_above_what_is_there_changes_nothing() -> None:
    (line,) = money_lines(Policy(per_agent_day_atomic=10**12), spent_today=0)
    assert line.endswith("by its balance")


def test_a_session_that_ended_needs_a_grant_in_its_currency() -> None:
    driver = AgentDriver()
    read(driver, 0, limit="none", session_problem="the session has expired", currency="CASH")
    (line,) = advice(driver.status())
    assert line.startswith("the session has expired, ")
    assert line.endswith("session grant buyer --allowance 1 --currency CASH")


def test_a_balance_that_is_used_up_needs_a_transfer_or_test_money() -> None:
    driver = AgentDriver(funds=PRICE)
    assert advice(driver.status())[0].endswith("send 0.001 USDC or more to account")
    assert advice(driver.status(), on_localnet=True)[0].endswith("autopay fund buyer 1")


def test_both_a_person_and_money_can_hold_an_agent_up() -> None:
    driver = AgentDriver(funds=0)
    driver.state.pause = "the audit"
    assert [line.split(":")[0] for line in advice(driver.status())] == [
        "to let it go on",
        "0 USDC spendable by its balance, 0.002 USDC needed",
    ]


def test_an_open_breaker_is_shown_with_its_next_probe() -> None:
    driver = AgentDriver()
    for _ in range(FAULTS):
        driver.state.record_balances_fault(driver.now)
    assert "to ask the chain at once: autopay resume buyer" in advice(driver.status())
    assert "the chain does not answer: nothing is sent to it; tried again at 00:00:30 UTC, in 30 s" in lines_of(driver)


def test_a_held_request_says_whose_word_it_waits_for() -> None:
    driver = AgentDriver()
    driver.queue("held", A)
    driver.start()
    driver.hold("held", "approval")
    driver.wait(90)
    assert any("held has waited 1 m 30 s for a person (autopay approvals buyer)" in line for line in lines_of(driver))
    assert "payments wait for a person: autopay approvals buyer" in advice(driver.status())


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
