"""What is agreed to, what is refused and why."""

import json

import pytest

from autopay.domain.hosts import origin
from autopay.domain.money import Currency, to_atomic, to_units
from autopay.domain.network import Network
from autopay.domain.payment.offer import BuyerLimits, Challenge, Offer, Option, choose
from autopay.domain.refusal import RefusalReason, Refused

USDC = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"
CASH = "CASHx9KJUStyftLFWGvEVf59SGeG9sh5FfcnZMVPCASH"
SELLER = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"
FACILITATOR = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"
US = "7v91N7iZ9mNicL8WfG6cgSCKyRXydQjLh6UYBWwm6y1Q"
URL = "https://market.example/api/market-feed"
DEVNET = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"


def option(**changes: str | None) -> Option:
    fields: dict[str, str | None] = {
        "scheme": "exact",
        "network": DEVNET,
        "asset": USDC,
        "amount": "1000",
        "pay_to": SELLER,
        "fee_payer": FACILITATOR,
        "memo": None,
        "raw": "{}",
    }
    return Option.model_validate(fields | changes)


def challenge(*options: Option, url: str | None = URL) -> Challenge:
    return Challenge(version=2, options=options, resource_url=url)


WANTS = BuyerLimits(
    url=URL,
    network=Network.DEVNET,
    mints={Currency.USDC: USDC, Currency.CASH: CASH},
    max_price_atomic=5000,
    own_keys=frozenset({US}),
)


def reason_of(verdict: Offer | Refused) -> RefusalReason:
    assert isinstance(verdict, Refused)
    return verdict.reason


def test_the_cheapest_acceptable_option_is_chosen() -> None:
    chosen = choose(challenge(option(amount="1200"), option(asset=CASH, amount="1100")), WANTS)
    assert isinstance(chosen, Offer)
    assert (chosen.currency, chosen.amount_atomic) == (Currency.CASH, 1100)


def test_ties_go_to_the_sellers_order() -> None:
    chosen = choose(challenge(option(asset=CASH), option()), WANTS)
    assert isinstance(chosen, Offer)
    assert chosen.currency == Currency.CASH


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scheme": "upto"}, RefusalReason.UNSUPPORTED_SCHEME),
        ({"network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"}, RefusalReason.UNSUPPORTED_NETWORK),
        ({"network": "solana-devnet"}, RefusalReason.UNSUPPORTED_NETWORK),
        ({"asset": SELLER}, RefusalReason.UNSUPPORTED_ASSET),
        ({"amount": "0"}, RefusalReason.AMOUNT_INVALID),
        ({"amount": "01000"}, RefusalReason.AMOUNT_INVALID),
        ({"amount": "-5"}, RefusalReason.AMOUNT_INVALID),
        ({"amount": "1.5"}, RefusalReason.AMOUNT_INVALID),
        ({"amount": "1e3"}, RefusalReason.AMOUNT_INVALID),
        ({"amount": "١٠٠٠"}, RefusalReason.AMOUNT_INVALID),
        ({"amount": str(2**64)}, RefusalReason.AMOUNT_INVALID),
        ({"amount": "1000\n"}, RefusalReason.AMOUNT_INVALID),
        ({"pay_to": "0OIl"}, RefusalReason.PAYEE_INVALID),
        ({"pay_to": US}, RefusalReason.PAYEE_INVALID),
        ({"fee_payer": None}, RefusalReason.FEE_PAYER_INVALID),
        ({"fee_payer": US}, RefusalReason.FEE_PAYER_INVALID),
        ({"memo": "x" * 257}, RefusalReason.MEMO_INVALID),
        ({"amount": "5001"}, RefusalReason.PRICE_ABOVE_MAXIMUM),
    ],
)
def test_an_unacceptable_option_is_refused_by_name(changes: dict[str, str | None], reason: RefusalReason) -> None:
    assert reason_of(choose(challenge(option(**changes)), WANTS)) == reason


def test_the_refusal_that_came_furthest_is_told() -> None:
    verdict = choose(challenge(option(scheme="upto"), option(amount="9000"), option(asset=SELLER)), WANTS)
    assert reason_of(verdict) == RefusalReason.PRICE_ABOVE_MAXIMUM


def test_no_option_at_all_is_an_empty_offer() -> None:
    assert reason_of(choose(challenge(), WANTS)) == RefusalReason.OFFER_EMPTY


def test_ten_thousand_options_are_too_many() -> None:
    assert reason_of(choose(challenge(*[option()] * 10_000), WANTS)) == RefusalReason.OFFER_TOO_LARGE


def test_an_offer_for_another_origin_is_refused() -> None:
    assert reason_of(choose(challenge(option(), url="https://evil.example/x"), WANTS)) == RefusalReason.ORIGIN_MISMATCH


def test_what_is_left_of_the_allowance_bounds_the_price() -> None:
    wants = WANTS.model_copy(update={"budgets": {Currency.USDC: 999}})
    assert reason_of(choose(challenge(option()), wants)) == RefusalReason.ALLOWANCE_EXHAUSTED


def test_a_default_port_is_part_of_the_origin() -> None:
    assert origin("https://A.example/x") == origin("https://a.example:443/y")
    assert origin("http://a.example") != origin("https://a.example")
    assert origin("ftp://a.example") is None
    assert origin("https://a.example:99999/") is None


def test_money_converts_exactly_and_refuses_what_it_cannot_hold() -> None:
    assert to_atomic("0.001") == 1000
    assert f"{to_units(1)}" == "0.000001"
    for bad in ("0.0000001", "-1", "NaN", "Infinity", "abc", "99999999999999999999"):
        with pytest.raises(ValueError, match=json.dumps(bad)[1:-1]):
            to_atomic(bad)
