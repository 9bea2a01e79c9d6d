"""What is agreed to, what is refused and why."""

import json

import pytest

from autopay.domain.money import Currency, to_atomic, to_units
from autopay.domain.network import Network
from autopay.domain.payment.offer import MAX_ACCEPTED_BYTES, BuyerLimits, Challenge, Offer, Option, choose
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.text.hosts import origin

USDC = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"
CASH = "CASHx9KJUStyftLFWGvEVf59SGeG9sh5FfcnZMVPCASH"
SELLER = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin"
FACILITATOR = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"
US = "7v91N7iZ9mNicL8WfG6cgSCKyRXydQjLh6UYBWwm6y1Q"
URL = "https://market.example/api/market-feed"
DEVNET = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"


MEMOS = [
    "order \U0001f680 é 7",
    "注文　漢字",
    "\U0001f469\u200d\U0001f4bb",
    "می\u200cخواهم",
    "prix 5\u00a0€",
    "\U0001faea",
]


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


@pytest.mark.parametrize("count", [41, 400])
def test_the_number_of_ways_to_pay_does_not_matter(count: int) -> None:
    foreign = option(network="eip155:84532", asset="0x1")
    chosen = choose(challenge(*[foreign] * (count - 1), option()), WANTS)
    assert isinstance(chosen, Offer)


def test_what_the_seller_calls_the_resource_decides_nothing() -> None:
    named = (choose(challenge(option(), url=url), WANTS) for url in (URL, None, "http://10.0.3.7:8080/x", "/x", "\0"))
    assert len(set(named)) == 1


def test_only_fee_payers_of_the_configured_facilitators_are_accepted_when_there_are_some() -> None:
    own = WANTS.model_copy(update={"fee_payers": frozenset({FACILITATOR})})
    dearer = option(amount="1200")
    chosen = choose(challenge(option(fee_payer=CASH), dearer), own)
    assert isinstance(chosen, Offer)
    assert chosen.amount_atomic == 1200, "the cheapest of those that they settle"
    assert reason_of(choose(challenge(option(fee_payer=CASH)), own)) == RefusalReason.FEE_PAYER_INVALID


@pytest.mark.parametrize("memo", MEMOS)
def test_a_memo_of_any_script_is_accepted(memo: str) -> None:
    assert isinstance(choose(challenge(option(memo=memo)), WANTS), Offer)


@pytest.mark.parametrize(
    "memo", ["a\0b", "a\nb", "\x1b[2J", "\u202ea", "a\u2028b", "\ue000", "\U000e0041", "\u200b", "ж" * 129]
)
def test_a_memo_that_cannot_be_shown_or_is_too_long_is_refused(memo: str) -> None:
    assert reason_of(choose(challenge(option(memo=memo)), WANTS)) == RefusalReason.MEMO_INVALID


def test_an_entry_that_fits_into_no_payment_header_is_refused_by_name() -> None:
    huge = option(raw="x" * (MAX_ACCEPTED_BYTES + 1))
    assert reason_of(choose(challenge(huge), WANTS)) == RefusalReason.OFFER_TOO_LARGE
    assert isinstance(choose(challenge(huge, option(amount="1200")), WANTS), Offer)
    v1 = Challenge(version=1, options=(huge.model_copy(update={"network": "solana-devnet"}),))
    assert isinstance(choose(v1, WANTS), Offer), "v1 echoes nothing of it"


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


def test_a_challenge_names_its_addresses_and_nothing_that_is_none() -> None:
    options = (option(), option(pay_to=US, fee_payer=None), option(pay_to="a\0b", fee_payer="\ud83d"))
    assert challenge(*options).addresses() == {SELLER, FACILITATOR, US}
