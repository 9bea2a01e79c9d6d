"""An agent of release 0.2.0 that continues as new on this release keeps everything that it carried."""

import json
from datetime import timedelta

from autopay.domain.agent.state.breakers import Breaker
from autopay.domain.agent.state.durable_state import DurableState, StepRetry
from autopay.domain.agent.state.money import EndpointPrice, PaidAmount
from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.request import RequestStatus
from tests.unit.agent_driver import START, A

NOW = START + timedelta(seconds=1)

FLAT: dict[str, object] = {
    "spec": {
        "name": "buyer",
        "phase": "FULL",
        "network": "DEVNET",
        "currencies": ["USDC"],
        "watches": [
            {
                "name": "w",
                "url": "https://a.example/x",
                "method": "GET",
                "every_s": 60,
                "max_price_atomic": None,
                "currency": None,
                "weight": 1.0,
            }
        ],
        "rules": {
            "thresholds": {"USDC": 2000},
            "buy_what_fits": False,
            "max_in_flight": 8,
            "queue_limit": 500,
            "demo_payments": 3,
            "balance_every_s": 30,
            "history_events": 10000,
        },
    },
    "pause": "lunch",
    "short": "0 USDC spendable",
    "stopping": True,
    "trouble": "the ledger does not answer",
    "retry_at": "2026-01-01T00:00:03Z",
    "retries": 1,
    "watching": {"plans": {"w": {"due": "2026-01-01T00:01:01Z", "last": "2026-01-01T00:00:01Z", "misses": 0}}},
    "next_balance": "2026-01-01T00:00:06Z",
    "next_catch_up": "2026-01-01T00:01:01Z",
    "purse": {
        "readings": [
            {
                "currency": "USDC",
                "balance_atomic": 1000000,
                "spendable_atomic": 1000000,
                "limit": "balance",
                "session_problem": None,
                "account": "account",
            }
        ],
        "paid_since": [{"currency": "USDC", "amount_atomic": 1000, "at": "2026-01-01T00:00:01Z"}],
    },
    "prices": {"known": {"c406e2783e50f090": {"amount_atomic": 1000, "currency": "USDC"}}},
    "sellers": {
        "breakers": {"c.example:443": {"faults": 3, "openings": 1, "until": "2026-01-01T00:00:31Z", "probe": None}}
    },
    "rpc": {"faults": 1, "openings": 0, "until": None, "probe": None},
    "queue": [],
    "in_flight": {
        "w-1767225601": {
            "request_id": "w-1767225601",
            "url": "",
            "method": "GET",
            "score": 0.013,
            "queued_at": "2026-01-01T00:00:01Z",
            "watch": "w",
            "max_price_atomic": None,
            "currency": None,
            "body_hash": None,
        },
        "held": {
            "request_id": "held",
            "url": "",
            "method": "GET",
            "score": 1.0,
            "queued_at": "2026-01-01T00:00:01Z",
            "watch": None,
            "max_price_atomic": None,
            "currency": None,
            "body_hash": None,
        },
    },
    "answered": ["w-1767225601"],
    "held": {
        "held": {
            "request_id": "held",
            "why": "approval",
            "since": "2026-01-01T00:00:01Z",
            "error": None,
            "message": None,
        }
    },
    "cancels": ["held"],
    "unheard": [
        {
            "request_id": "early",
            "status": "free",
            "final": True,
            "held": None,
            "error": None,
            "http_status": None,
            "currency": None,
            "amount_atomic": 0,
            "transaction": None,
            "message": None,
        }
    ],
    "payments": 1,
    "demo_from": 1,
    "counts": {"delivered": 1, "failed": 3, "fresh": 1},
    "spent_atomic": {"USDC": 1000},
    "last": [
        {
            "request_id": "f2",
            "status": "failed",
            "final": True,
            "held": None,
            "error": "seller_unavailable",
            "http_status": None,
            "currency": None,
            "amount_atomic": 0,
            "transaction": None,
            "message": None,
        },
        {
            "request_id": "w-1767225601",
            "status": "delivered",
            "final": False,
            "held": None,
            "error": None,
            "http_status": None,
            "currency": "USDC",
            "amount_atomic": 1000,
            "transaction": "s",
            "message": None,
        },
    ],
}
"""What 0.2.0 wrote, every field set."""


def test_a_state_of_0_2_0_is_read_into_its_parts() -> None:
    state = DurableState.model_validate_json(json.dumps(FLAT))
    assert (state.spec.name, state.spec.phase, state.pause, state.stopping) == ("buyer", Phase.FULL, "lunch", True)
    assert state.retry == StepRetry(fault="the ledger does not answer", at=NOW + timedelta(seconds=2), retries=1)
    assert [notice.request_id for notice in state.early_notices] == ["early"]

    queue = state.queue
    assert (queue.waiting, [*queue.in_flight], queue.answered) == ([], ["w-1767225601", "held"], {"w-1767225601"})
    assert [(held.why, held.since) for held in queue.held.values()] == [("approval", NOW)]
    assert (queue.cancels, queue.next_ledger_check) == (["held"], NOW + timedelta(minutes=1))

    balances = state.balances
    assert [each.spendable_atomic for each in balances.readings] == [1_000_000]
    assert balances.paid_since == [PaidAmount(currency=Currency.USDC, amount_atomic=1000, at=NOW)]
    assert (balances.next_reading, balances.shortage) == (NOW + timedelta(seconds=5), "0 USDC spendable")
    assert state.prices.of("GET", A) == EndpointPrice(amount_atomic=1000, currency=Currency.USDC)

    plan = state.schedule.plans["w"]
    assert (plan.due, plan.last, plan.misses) == (NOW + timedelta(minutes=1), NOW, 0)
    assert state.breakers.rpc == Breaker(faults=1)
    assert state.breakers.sellers == {"c.example:443": Breaker(faults=3, openings=1, until=NOW + timedelta(seconds=30))}

    counters = state.counters
    assert (counters.payments, counters.demo_from, counters.spent_atomic) == (1, 1, {Currency.USDC: 1000})
    assert counters.by_status == {RequestStatus.DELIVERED: 1, RequestStatus.FAILED: 3, RequestStatus.FRESH: 1}
    assert [notice.request_id for notice in counters.last] == ["f2", "w-1767225601"]


def test_what_this_release_carries_is_read_as_it_was_written() -> None:
    state = DurableState.model_validate_json(json.dumps(FLAT))
    assert DurableState.model_validate_json(state.model_dump_json()) == state


def test_a_flat_state_with_nothing_but_a_spec_has_the_defaults() -> None:
    state = DurableState.model_validate({"spec": FLAT["spec"], "rpc": {}})
    assert state == DurableState(spec=state.spec)
