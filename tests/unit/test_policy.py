"""`judge`: every rule, their order, and what happens exactly at each limit."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import ApprovalState, Ask, Facts, Permit, Policy, Terms, judge
from autopay.domain.refusal import RefusalReason, Refused

SELLER, OTHER = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin", "7v91N7iZ9mNicL8WfG6cgSCKyRXydQjLh6UYBWwm6y1Q"
PRICE = 1_000


def terms(**changes: object) -> Terms:
    fields: dict[str, object] = {
        "request_id": "r1",
        "method": "GET",
        "url": "https://api.example.com/data",
        "body_hash": None,
        "network": Network.DEVNET,
        "currency": Currency.USDC,
        "mint": "mint",
        "program": "program",
        "pay_to": SELLER,
        "amount_atomic": PRICE,
    }
    return Terms.model_validate(fields | changes)


def facts(policy: Policy, **changes: object) -> Facts:
    fields: dict[str, object] = {
        "phase": Phase.FULL,
        "policy": policy,
        "host": "api.example.com:443",
        "spent_host_day_atomic": 0,
        "spent_agent_day_atomic": 0,
        "known_payees": frozenset(),
        "last_price_atomic": None,
        "approval": None,
    }
    return Facts.model_validate(fields | changes)


def policy(**limits: object) -> Policy:
    return Policy.model_validate(limits)


def reason(verdict: Permit | Ask | Refused) -> RefusalReason:
    assert isinstance(verdict, Refused), verdict
    return verdict.reason


def test_without_a_policy_a_first_payment_is_permitted_to_who_acts_alone() -> None:
    for phase in (Phase.DEMO, Phase.FULL):
        assert judge(terms(), facts(Policy(), phase=phase)) == Permit()


def test_without_a_policy_a_person_is_asked_about_everything() -> None:
    verdict = judge(terms(), facts(Policy(), phase=Phase.INTERACTIVE))
    assert verdict == Ask(why="0.001 USDC is asked; up to 0 USD needs no approval")


LIMITS: list[tuple[dict[str, object], dict[str, object], RefusalReason]] = [
    ({"per_request_atomic": PRICE}, {}, RefusalReason.ABOVE_REQUEST_LIMIT),
    ({"per_host_day_atomic": 5_000}, {"spent_host_day_atomic": 4_000}, RefusalReason.HOST_DAY_LIMIT),
    ({"per_agent_day_atomic": 5_000}, {"spent_agent_day_atomic": 4_000}, RefusalReason.AGENT_DAY_LIMIT),
]


@pytest.mark.parametrize(("limits", "booked", "why"), LIMITS)
def test_a_limit_may_be_reached_and_not_passed_by_a_single_unit(
    limits: dict[str, object], booked: dict[str, object], why: RefusalReason
) -> None:
    known = facts(policy(**limits), **booked)
    assert judge(terms(amount_atomic=PRICE), known) == Permit()
    assert reason(judge(terms(amount_atomic=PRICE + 1), known)) is why


@pytest.mark.parametrize(("limits", "booked", "why"), LIMITS)
def test_no_approval_lifts_a_limit(limits: dict[str, object], booked: dict[str, object], why: RefusalReason) -> None:
    known = facts(policy(**limits), phase=Phase.INTERACTIVE, approval="APPROVED", **booked)
    assert reason(judge(terms(amount_atomic=PRICE + 1), known)) is why


def test_a_limit_of_zero_pays_nothing() -> None:
    assert (
        reason(judge(terms(amount_atomic=1), facts(policy(per_request_atomic=0)))) is RefusalReason.ABOVE_REQUEST_LIMIT
    )


@pytest.mark.parametrize(
    ("allowed", "changes", "why"),
    [
        ({"currencies": ("CASH",)}, {"currency": Currency.USDC}, RefusalReason.CURRENCY_NOT_ALLOWED),
        ({"hosts": ("other.example.com",)}, {}, RefusalReason.HOST_NOT_ALLOWED),
        ({"payees": (OTHER,)}, {}, RefusalReason.PAYEE_NOT_ALLOWED),
    ],
)
@pytest.mark.parametrize("phase", list(Phase))
def test_what_is_not_on_a_list_is_refused_whoever_approves(
    allowed: dict[str, object], changes: dict[str, object], why: RefusalReason, phase: Phase
) -> None:
    known = facts(policy(**allowed), phase=phase, approval="APPROVED")
    assert reason(judge(terms(**changes), known)) is why


def test_what_is_on_every_list_is_permitted() -> None:
    lists = policy(currencies=("USDC",), hosts=("*.example.com",), payees=(SELLER,))
    assert judge(terms(), facts(lists)) == Permit()


def test_lists_come_before_limits_and_limits_before_doubts() -> None:
    everything = {
        "currencies": ("CASH",),
        "hosts": ("other.dev",),
        "payees": (OTHER,),
        "per_request_atomic": 1,
        "per_host_day_atomic": 1,
        "per_agent_day_atomic": 1,
    }
    order = (
        (None, RefusalReason.CURRENCY_NOT_ALLOWED),
        ("currencies", RefusalReason.HOST_NOT_ALLOWED),
        ("hosts", RefusalReason.PAYEE_NOT_ALLOWED),
        ("payees", RefusalReason.ABOVE_REQUEST_LIMIT),
        ("per_request_atomic", RefusalReason.HOST_DAY_LIMIT),
        ("per_host_day_atomic", RefusalReason.AGENT_DAY_LIMIT),
        ("per_agent_day_atomic", RefusalReason.PAYEE_CHANGED),
    )
    doubts = {"known_payees": frozenset({OTHER}), "last_price_atomic": 1}
    for lifted, why in order:
        everything.pop(lifted or "", None)
        assert reason(judge(terms(), facts(policy(**everything), **doubts))) is why
    assert reason(judge(terms(), facts(Policy(), last_price_atomic=1))) is RefusalReason.PRICE_JUMP


def test_a_payee_that_is_known_is_paid_again() -> None:
    assert judge(terms(), facts(Policy(), known_payees=frozenset({OTHER, SELLER}))) == Permit()


def test_another_payee_is_refused_to_who_acts_alone_and_asked_of_a_person() -> None:
    changed = {"known_payees": frozenset({OTHER})}
    for phase in (Phase.DEMO, Phase.FULL):
        refused = judge(terms(), facts(Policy(), phase=phase, **changed))
        assert reason(refused) is RefusalReason.PAYEE_CHANGED
        assert isinstance(refused, Refused)
        assert SELLER in refused.message
        assert OTHER in refused.message
    generous = policy(auto_approve_atomic=10**6)
    asked = judge(terms(), facts(generous, phase=Phase.INTERACTIVE, **changed))
    assert isinstance(asked, Ask)
    assert SELLER in asked.why


def test_a_payee_that_policy_names_is_no_surprise() -> None:
    assert judge(terms(), facts(policy(payees=(SELLER,)), known_payees=frozenset({OTHER}))) == Permit()


def test_a_price_may_grow_up_to_its_factor_and_no_further() -> None:
    known = facts(policy(price_factor=Decimal("1.5")), last_price_atomic=PRICE)
    assert judge(terms(amount_atomic=1_500), known) == Permit()
    assert reason(judge(terms(amount_atomic=1_501), known)) is RefusalReason.PRICE_JUMP
    assert judge(terms(amount_atomic=1), known) == Permit()


def test_three_times_the_last_price_is_the_built_in_bound_and_none_can_be_set() -> None:
    assert (
        reason(judge(terms(amount_atomic=3_001), facts(Policy(), last_price_atomic=PRICE))) is RefusalReason.PRICE_JUMP
    )
    boundless = facts(policy(price_factor=None), last_price_atomic=1)
    assert judge(terms(amount_atomic=10**12), boundless) == Permit()


def test_a_person_is_asked_above_the_amount_that_needs_no_approval_and_not_at_it() -> None:
    known = facts(policy(auto_approve_atomic=PRICE), phase=Phase.INTERACTIVE)
    assert judge(terms(), known) == Permit()
    assert isinstance(judge(terms(amount_atomic=PRICE + 1), known), Ask)


@pytest.mark.parametrize(
    ("approval", "verdict"),
    [
        (None, Ask),
        ("PENDING", Ask),
        ("APPROVED", Permit(approved=True)),
        ("DENIED", RefusalReason.APPROVAL_DENIED),
        ("EXPIRED", RefusalReason.APPROVAL_EXPIRED),
    ],
)
@pytest.mark.parametrize("doubt", [{}, {"known_payees": frozenset({OTHER})}, {"last_price_atomic": 1}])
def test_a_persons_word_settles_every_doubt_of_an_interactive_agent(
    approval: ApprovalState | None, verdict: object, doubt: dict[str, object]
) -> None:
    found = judge(terms(), facts(Policy(), phase=Phase.INTERACTIVE, approval=approval, **doubt))
    if isinstance(verdict, RefusalReason):
        assert reason(found) is verdict
    else:
        assert type(found) is verdict or found == verdict


@pytest.mark.parametrize("approval", ["DENIED", "EXPIRED", "PENDING", "APPROVED"])
def test_a_persons_word_is_not_needed_and_not_heard_where_nobody_is_to_be_asked(approval: ApprovalState) -> None:
    assert judge(terms(), facts(Policy(), approval=approval)) == Permit()
    allowed = facts(policy(auto_approve_atomic=PRICE), phase=Phase.INTERACTIVE, approval=approval)
    assert judge(terms(), allowed) == Permit()
    doubtful = facts(Policy(), approval=approval, known_payees=frozenset({OTHER}))
    assert reason(judge(terms(), doubtful)) is RefusalReason.PAYEE_CHANGED


def test_terms_differ_by_anything_that_is_paid_or_bought() -> None:
    changes: list[dict[str, object]] = [
        {"request_id": "r2"},
        {"method": "POST"},
        {"url": "https://api.example.com/other"},
        {"body_hash": "0" * 64},
        {"network": Network.MAINNET},
        {"mint": "other"},
        {"program": "other"},
        {"pay_to": OTHER},
        {"amount_atomic": PRICE + 1},
    ]
    hashes = {terms().hash(), *(terms(**change).hash() for change in changes)}
    assert len(hashes) == len(changes) + 1
    assert len(terms().hash()) == 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"per_request_atomic": -1},
        {"per_host_day_atomic": 2**64},
        {"hosts": ["https://a.dev"]},
        {"payees": ["0x12"]},
        {"currencies": ["EUR"]},
        {"price_factor": "0.9"},
        {"approval_expires_s": 59},
        {"unknown": 1},
    ],
)
def test_an_impossible_policy_cannot_be_made(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Policy.model_validate(wrong)
