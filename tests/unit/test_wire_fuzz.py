"""Whatever a seller sends, reading it raises nothing; whatever is chosen says the same when it is read again.

Bytes, JSON of every kind, and honest offers of both versions that were changed in one place or several.
"""

import base64
import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from x402.schemas import PaymentPayload

from autopay.adapters.postgres.payments.content import receipt_json, storable
from autopay.adapters.x402.decoding import MAX_DEPTH
from autopay.adapters.x402.wire import read_challenge, read_receipt
from autopay.domain.money import MAX_ATOMIC, Currency
from autopay.domain.network import Network, wire_name
from autopay.domain.payment.exchange import Receipt, Reply, classify
from autopay.domain.payment.offer import MAX_MEMO_BYTES, BuyerLimits, Challenge, Offer, Option, choose
from autopay.domain.phase import Phase
from autopay.domain.policy.policy import ApprovalState, Ask, Facts, Permit, Policy, Terms, judge
from autopay.domain.refusal import Refused

USDC, CASH = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "CASHx9KJUStyftLFWGvEVf59SGeG9sh5FfcnZMVPCASH"
PAYEE, THIEF = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin", "7v91N7iZ9mNicL8WfG6cgSCKyRXydQjLh6UYBWwm6y1Q"
FACILITATOR = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"
US = "4Nd1mBQtrMJVYVfKf2PJy9NZUZdTAsp7D4xWLs4gDB4T"
URL = "https://a.example/x"
WANTS = BuyerLimits(
    network=Network.DEVNET,
    mints={Currency.USDC: USDC, Currency.CASH: CASH},
    own_keys=frozenset({US}),
)

ENTRIES: dict[int, dict[str, Any]] = {
    version: {
        "scheme": "exact",
        "network": wire_name(Network.DEVNET, version),
        "asset": USDC,
        "amount" if version == 2 else "maxAmountRequired": "1000",
        "payTo": PAYEE,
        "maxTimeoutSeconds": 60,
        "extra": {"feePayer": FACILITATOR, "memo": "a memo"},
        **({"resource": URL, "description": "", "mimeType": ""} if version == 1 else {}),
    }
    for version in (1, 2)
}
OFFERS: dict[int, dict[str, Any]] = {
    1: {"x402Version": 1, "error": "pay", "accepts": [ENTRIES[1]]},
    2: {
        "x402Version": 2,
        "error": "pay",
        "resource": {"url": URL, "description": "", "mimeType": ""},
        "accepts": [ENTRIES[2], {**ENTRIES[2], "asset": CASH}],
        "extensions": {"payment-identifier": {"info": {"required": False}, "schema": {}}},
    },
}
AMOUNT_FIELD = {1: "maxAmountRequired", 2: "amount"}

NAMES = st.sampled_from(
    [
        *("scheme", "network", "asset", "amount", "maxAmountRequired", "max_amount_required", "payTo", "pay_to"),
        *("extra", "feePayer", "memo", "resource", "url", "accepts", "x402Version", "extensions", "payment-identifier"),
        *("info", "required", "id", "recipient", "currency", "error", "maxTimeoutSeconds", "max_timeout_seconds"),
    ]
)
TEXTS = st.text(max_size=20) | st.sampled_from(
    [
        *(
            "1000",
            "0",
            "-1",
            "1e3",
            "01000",
            " 1000",
            "1000\n",
            "１０００",
            "0x10",
            str(MAX_ATOMIC),
            str(MAX_ATOMIC + 1),
        ),
        *(PAYEE, THIEF, US, USDC, CASH, FACILITATOR, f"{PAYEE} ", "exact", "exact ", "upto", "solana", "solana-devnet"),
        *(URL, "https://b.example/x", "https://a.example@b.example/", "//", "http://[", "\ud800", "\0", "x" * 300),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


NASTY_AMOUNTS = st.sampled_from(["01000", "0", "1000.0", " 1000", str(MAX_ATOMIC), str(MAX_ATOMIC + 1), "１０００"])
ADDRESSES = st.sampled_from([PAYEE, THIEF, US, FACILITATOR, USDC, CASH])
OTHER_NAMES = {
    "payTo": ["pay_to", "recipient", "payto"],
    "amount": ["maxAmountRequired", "price"],
    "maxAmountRequired": ["max_amount_required", "amount"],
    "asset": ["currency", "mint"],
    "feePayer": ["fee_payer", "payer"],
    "memo": ["Memo"],
}


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """An honest offer with up to four changes, each anywhere in it or in what counts in an entry."""
    content = copy.deepcopy(OFFERS[draw(st.sampled_from([1, 2]))])
    for _ in range(draw(st.integers(0, 4))):
        draw(st.sampled_from([_change_anything, _change_terms, _change_terms]))(draw, content)
    return content


def _change_anything(draw: st.DrawFn, content: dict[str, Any]) -> None:
    """A value replaced, a key added or renamed, the entries repeated."""
    place = content
    while (inner := _objects_in(place)) and not draw(st.booleans()):
        place = draw(st.sampled_from(inner))
    match draw(st.sampled_from(["replace", "add", "rename", "repeat"])):
        case "replace" if place:
            place[draw(st.sampled_from(sorted(place)))] = draw(VALUES)
        case "rename" if place:
            place[draw(NAMES)] = place.pop(draw(st.sampled_from(sorted(place))))
        case "repeat" if isinstance(content.get("accepts"), list):
            content["accepts"] *= draw(st.integers(0, 3))
        case _:
            place[draw(NAMES)] = draw(VALUES)


def _change_terms(draw: st.DrawFn, content: dict[str, Any]) -> None:
    """A nasty amount, another address, or another name for a field, in the place of the official one or beside it."""
    entries = [each for each in _objects_in(content) if "scheme" in each]
    if not entries:
        return
    entry = draw(st.sampled_from(entries))
    places = [entry, *_objects_in(entry)]
    place = draw(st.sampled_from(places))
    names = sorted(OTHER_NAMES.keys() & place.keys())
    if not names:
        return
    name = draw(st.sampled_from(names))
    value = draw(NASTY_AMOUNTS if "mount" in name else ADDRESSES)
    match draw(st.sampled_from(["value", "name", "beside"])):
        case "value":
            place[name] = value
        case "name":
            place[draw(st.sampled_from(OTHER_NAMES[name]))] = place.pop(name)
        case _:
            place[draw(st.sampled_from(OTHER_NAMES[name]))] = value


def _objects_in(place: dict[str, Any]) -> list[dict[str, Any]]:
    lists = [each for each in place.values() if isinstance(each, list)]
    return [each for group in (place.values(), *lists) for each in group if isinstance(each, dict)]


def in_header(content: bytes) -> dict[str, str]:
    return {"payment-required": base64.b64encode(content).decode()}


def read_everywhere(content: bytes) -> list[Challenge | Refused]:
    """As a header, as a body, and as both."""
    return [
        read_challenge(in_header(content), b""),
        read_challenge({}, content),
        read_challenge(in_header(content), content),
    ]


def check_chosen(found: Challenge | Refused) -> None:
    """What was chosen is within bounds, and is what the echoed entry says under the official names alone."""
    assert type(found).model_validate_json(found.model_dump_json()) == found, "it travels through Temporal"
    if isinstance(found, Refused):
        return
    chosen = choose(found, WANTS)
    if isinstance(chosen, Refused):
        return
    raw = json.loads(chosen.accepted_raw, parse_constant=lambda text: f"no JSON: {text}")
    amount = raw[AMOUNT_FIELD[chosen.version]]
    assert type(chosen.amount_atomic) is int
    assert 0 < chosen.amount_atomic <= MAX_ATOMIC
    assert amount == str(chosen.amount_atomic)
    assert (raw["scheme"], raw["network"]) == ("exact", wire_name(Network.DEVNET, chosen.version))
    assert (raw["asset"], raw["payTo"]) == (chosen.mint, chosen.pay_to)
    assert (WANTS.mints[chosen.currency], raw["extra"]["feePayer"]) == (chosen.mint, chosen.fee_payer)
    assert not {chosen.pay_to, chosen.fee_payer} & WANTS.own_keys
    assert chosen.memo is None or (raw["extra"]["memo"] == chosen.memo and len(chosen.memo.encode()) <= MAX_MEMO_BYTES)
    check_echo(chosen, raw)
    storable(found.model_dump(mode="json"))
    assert Offer.model_validate_json(chosen.model_dump_json()) == chosen


def check_echo(chosen: Offer, raw: dict[str, Any]) -> None:
    """A seller on the official SDK reads the terms that we sign out of what we echo; v1 echoes nothing."""
    if chosen.version == 1:
        return
    payment: dict[str, Any] = {"x402Version": 2, "accepted": raw, "payload": {"transaction": ""}}
    if chosen.resource_raw is not None:
        payment["resource"] = json.loads(chosen.resource_raw)
    if chosen.extensions_raw is not None:
        payment["extensions"] = json.loads(chosen.extensions_raw)
    accepted = PaymentPayload.model_validate_json(json.dumps(payment)).accepted
    assert (accepted.pay_to, accepted.amount, accepted.asset) == (
        chosen.pay_to,
        str(chosen.amount_atomic),
        chosen.mint,
    )


MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@MANY
@given(st.binary(max_size=400))
def test_bytes_are_read_or_refused(content: bytes) -> None:
    for found in read_everywhere(content):
        check_chosen(found)


@MANY
@given(
    st.dictionaries(
        st.sampled_from(["payment-required", "payment-response", "x-payment-response"]), st.text(max_size=200)
    ),
    st.binary(max_size=200),
)
def test_headers_of_any_text_are_read_or_refused(headers: dict[str, str], body: bytes) -> None:
    check_chosen(read_challenge(headers, body))
    read_receipt(headers)


@MANY
@given(VALUES)
def test_json_of_any_kind_is_read_or_refused(content: Any) -> None:
    for found in read_everywhere(json.dumps(content).encode()):
        check_chosen(found)


@settings(MANY, max_examples=500)
@given(mutated())
def test_a_changed_offer_is_refused_or_says_the_same_when_it_is_read_again(content: dict[str, Any]) -> None:
    for found in read_everywhere(json.dumps(content).encode()):
        check_chosen(found)


@MANY
@given(mutated(), st.data())
def test_a_changed_byte_is_read_or_refused(content: dict[str, Any], data: st.DataObject) -> None:
    text = bytearray(json.dumps(content).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    for found in read_everywhere(bytes(text)):
        check_chosen(found)


@MANY
@given(mutated(), mutated())
def test_of_header_and_body_one_alone_is_believed_and_the_header_if_it_can_be_read(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    header, body = in_header(json.dumps(one).encode()), json.dumps(other).encode()
    found = read_challenge(header, body)
    check_chosen(found)
    alone = read_challenge(header, b"")
    by_body = read_challenge({}, body)
    assert found == (by_body if isinstance(by_body, Challenge) and isinstance(alone, Refused) else alone)


@given(st.integers(1, 3 * MAX_DEPTH), st.sampled_from(["extra", "extensions", "resource"]))
def test_what_is_nested_is_echoed_refused_or_left_out(depth: int, where: str) -> None:
    content = copy.deepcopy(OFFERS[2])
    place = content["accepts"][0]["extra"] if where == "extra" else content[where]
    place["deep"] = "HERE"
    text = json.dumps(content).replace('"HERE"', "[" * depth + "]" * depth)
    for found in read_everywhere(text.encode()):
        check_chosen(found)
        is_too_deep = depth + (2 if where == "extra" else 1) > MAX_DEPTH
        if where == "extra":
            assert isinstance(found, Refused) == is_too_deep, depth
        else:
            assert isinstance(found, Challenge)
            echoed = found.extensions_raw if where == "extensions" else found.resource_raw
            assert ("deep" in (echoed or "")) != is_too_deep, depth


RECEIPTS = st.fixed_dictionaries(
    {},
    optional={
        "success": VALUES | st.booleans(),
        "transaction": VALUES | TEXTS,
        "network": VALUES | TEXTS,
        "payer": VALUES,
        "errorReason": VALUES | TEXTS,
        "extensions": VALUES,
        "amount": VALUES,
    },
)


@MANY
@given(RECEIPTS | VALUES, st.sampled_from(["payment-response", "x-payment-response"]), st.integers(100, 999))
def test_a_receipt_of_any_kind_is_read_or_ignored(content: Any, name: str, status: int) -> None:
    receipt = read_receipt({name: base64.b64encode(json.dumps(content).encode()).decode()})
    answer = classify(Reply(http_status=status, receipt=receipt))
    assert answer.kind in ("content", "rejected", "conflict")
    assert (receipt_json(receipt) is None) == (receipt is None)
    assert receipt is None or Receipt.model_validate_json(receipt.model_dump_json()) == receipt


AMOUNTS = st.integers(0, MAX_ATOMIC)
LIMITS = st.none() | AMOUNTS
POLICIES = st.builds(
    Policy,
    per_request_atomic=LIMITS,
    per_host_day_atomic=LIMITS,
    per_agent_day_atomic=LIMITS,
    hosts=st.sampled_from([(), ("a.example",), ("*.example",), ("b.example:8443", "a.example:443")]),
    payees=st.sampled_from([(), (PAYEE,), (THIEF,)]),
    currencies=st.sampled_from([(), (Currency.USDC,), (Currency.CASH,)]),
    price_factor=st.none() | st.decimals(1, 1_000_000, places=2),
    auto_approve_atomic=AMOUNTS,
)
APPROVALS: st.SearchStrategy[ApprovalState | None] = st.sampled_from(["PENDING", "APPROVED", "DENIED", "EXPIRED", None])
FACTS = st.builds(
    Facts,
    phase=st.sampled_from(Phase),
    policy=POLICIES,
    host=st.sampled_from(["a.example", "a.example:8443", "[::1]:80", "b.example", ""]) | st.text(max_size=20),
    spent_host_day_atomic=AMOUNTS,
    spent_agent_day_atomic=AMOUNTS,
    known_payees=st.sampled_from([frozenset(), frozenset({PAYEE}), frozenset({THIEF, PAYEE})]),
    last_price_atomic=LIMITS,
    approval=APPROVALS,
)
TERMS = st.builds(
    Terms,
    request_id=st.text(max_size=10),
    method=st.sampled_from(["GET", "POST"]),
    url=st.text(max_size=30),
    body_hash=st.none() | st.text(max_size=8),
    network=st.just(Network.DEVNET),
    currency=st.sampled_from(Currency),
    mint=st.sampled_from([USDC, CASH]),
    program=st.text(max_size=8),
    pay_to=st.sampled_from([PAYEE, THIEF]),
    amount_atomic=st.integers(1, MAX_ATOMIC),
)


@settings(MANY, max_examples=300)
@given(TERMS, FACTS)
def test_any_terms_are_judged_and_a_permit_breaks_no_limit(terms: Terms, facts: Facts) -> None:
    verdict = judge(terms, facts)
    assert isinstance(verdict, Permit | Ask | Refused)
    if isinstance(verdict, Refused):
        return
    policy, amount = facts.policy, terms.amount_atomic
    for limit, taken in (
        (policy.per_request_atomic, 0),
        (policy.per_host_day_atomic, facts.spent_host_day_atomic),
        (policy.per_agent_day_atomic, facts.spent_agent_day_atomic),
    ):
        assert limit is None or taken + amount <= limit
    assert not policy.payees or terms.pay_to in policy.payees
    assert not policy.currencies or terms.currency in policy.currencies
    if isinstance(verdict, Permit) and not verdict.approved:
        assert not facts.known_payees or terms.pay_to in facts.known_payees | set(policy.payees)
        last, factor = facts.last_price_atomic, policy.price_factor
        assert last is None or factor is None or amount <= last * factor
        assert facts.phase is not Phase.INTERACTIVE or amount <= policy.auto_approve_atomic
    if isinstance(verdict, Permit) and verdict.approved:
        assert (facts.phase, facts.approval) == (Phase.INTERACTIVE, "APPROVED")


OPTIONS = st.builds(
    Option,
    scheme=TEXTS | st.just("exact"),
    network=TEXTS | st.just(wire_name(Network.DEVNET, 2)),
    asset=TEXTS | st.just(USDC),
    amount=TEXTS | st.integers(0, MAX_ATOMIC).map(str),
    pay_to=TEXTS | st.just(PAYEE),
    fee_payer=st.none() | TEXTS | st.just(FACILITATOR),
    memo=st.none() | TEXTS,
    raw=st.text(max_size=20),
)


@MANY
@given(st.lists(OPTIONS, max_size=40), st.none() | TEXTS, LIMITS)
def test_any_options_are_chosen_from_or_refused(options: list[Option], url: str | None, most: int | None) -> None:
    challenge = Challenge(version=2, options=tuple(options), resource_url=url)
    chosen = choose(challenge, WANTS.model_copy(update={"max_price_atomic": most}))
    assert isinstance(chosen, Offer | Refused)
    if isinstance(chosen, Offer):
        assert most is None or chosen.amount_atomic <= most
