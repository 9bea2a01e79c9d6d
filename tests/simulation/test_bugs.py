"""A simulation that finds no bug proves nothing: each deliberate one must be found within a bounded number of seeds."""

from itertools import chain

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.patching import swapped
from tests.simulation.scenario import simulate

MOST_SEEDS = 600

TRIED_FIRST = {
    "asks_a_person_when_it_is_too_late": 6,
    "asks_any_node_without_a_least_slot": 118,
    "believes_a_receipt_without_looking": 8,
    "believes_that_a_node_is_at_the_slot_it_was_asked_for": 300,
    "calls_paid_and_undelivered_failed": 20,
    "counts_a_payment_as_the_reason_of_its_own_death": 442,
    "counts_only_settled_money_against_the_day": 26,
    "counts_sends_that_never_left": 123,
    "ends_a_request_again": 20,
    "ends_without_asking_the_ledger": 67,
    "forgets_that_a_blockhash_may_be_old": 36,
    "hears_no_cancel_while_the_seller_is_asked": 3,
    "matches_by_memo_alone": 4,
    "matches_by_the_transfer_alone": 4,
    "reads_numbers_that_nobody_needs": 9,
    "reads_the_height_at_confirmed": 7,
    "releases_the_reservation_of_an_unknown_payment": 9,
    "signs_again_after_a_time_out": 7,
    "skips_the_allowance_check": 8,
    "takes_a_402_for_unpaid": 8,
    "takes_a_server_error_for_unpaid": 18,
    "takes_a_yes_to_other_terms": 19,
    "takes_any_decision": 34,
    "takes_being_woken_for_a_yes": 6,
    "takes_confirmed_for_final": 10,
}
"""A seed in which the bug shows at once. Only time depends on it: when the simulation changes, the others are tried."""


@pytest.mark.parametrize("name", BUGS)
def test_a_deliberate_bug_is_found(name: str) -> None:
    with swapped(*BUGS[name]()):
        seeds = chain([TRIED_FIRST.get(name, 0)], range(MOST_SEEDS))
        assert any(simulate(seed).violations for seed in seeds), f"{name} was not found"
