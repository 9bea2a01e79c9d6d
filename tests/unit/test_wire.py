"""402 answers as sellers send them, honest and not: a challenge, a named refusal, never an exception."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autopay.adapters.x402.wire import read_challenge, read_receipt
from autopay.domain.payment.offer import Challenge
from autopay.domain.refusal import RefusalReason, Refused

V2: dict[str, Any] = {
    "x402Version": 2,
    "error": "Payment required",
    "resource": {"url": "https://a.example/x"},
    "accepts": [
        {
            "scheme": "exact",
            "network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
            "asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
            "amount": "1000",
            "payTo": "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",
            "maxTimeoutSeconds": 60,
            "extra": {"feePayer": "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4", "note": "kept"},
        }
    ],
    "extensions": {"payment-identifier": {"info": {"required": False}, "schema": {}}},
}
V1: dict[str, Any] = {
    "x402Version": 1,
    "accepts": [
        {
            "scheme": "exact",
            "network": "solana-devnet",
            "maxAmountRequired": "1000",
            "resource": "https://a.example/x",
            "payTo": "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",
            "maxTimeoutSeconds": 60,
            "asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU",
            "extra": {"feePayer": "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"},
        }
    ],
}


def header(content: object) -> dict[str, str]:
    return {"payment-required": base64.b64encode(json.dumps(content).encode()).decode()}


def refusal(found: Challenge | Refused) -> RefusalReason:
    assert isinstance(found, Refused)
    return found.reason


def test_a_v2_offer_is_read_from_its_header_and_kept_as_it_came() -> None:
    found = read_challenge(header(V2), b"{}")
    assert isinstance(found, Challenge)
    assert (found.version, found.resource_url, found.offers_payment_identifier) == (2, "https://a.example/x", True)
    assert json.loads(found.options[0].raw) == V2["accepts"][0]
    assert found.options[0].amount == "1000"


def test_a_v1_offer_is_read_from_the_body() -> None:
    found = read_challenge({}, json.dumps(V1).encode())
    assert isinstance(found, Challenge)
    assert (found.version, found.options[0].amount, found.resource_url) == (1, "1000", "https://a.example/x")


def test_a_readable_header_alone_is_the_offer_whatever_the_body_says() -> None:
    dearer = json.loads(json.dumps(V1))
    dearer["accepts"][0]["maxAmountRequired"] = "9000"
    alone = read_challenge(header(V2), b"")
    assert isinstance(alone, Challenge)
    for body in (json.dumps(dearer).encode(), b"<html>", b"{", b"x" * 1_000_000):
        assert read_challenge(header(V2), body) == alone


def test_a_header_that_cannot_be_read_leaves_the_body() -> None:
    found = read_challenge({"payment-required": "pay me"}, json.dumps(V1).encode())
    assert isinstance(found, Challenge)
    assert found.version == 1
    assert refusal(read_challenge({"payment-required": "pay me"}, b"{}")) == RefusalReason.OFFER_MALFORMED


def test_an_html_page_is_no_offer() -> None:
    assert refusal(read_challenge({}, b"<html>Pay up</html>")) == RefusalReason.OFFER_MALFORMED


def test_an_empty_list_of_ways_to_pay_is_told_apart() -> None:
    found = read_challenge(header({**V2, "accepts": []}), b"")
    assert isinstance(found, Challenge)
    assert found.options == ()


def test_a_megabyte_of_header_is_too_large() -> None:
    assert refusal(read_challenge({"payment-required": "A" * 1_000_000}, b"")) == RefusalReason.OFFER_TOO_LARGE


def test_an_entry_that_is_malformed_does_not_hide_a_good_one() -> None:
    found = read_challenge(header({**V2, "accepts": [{"scheme": 7}, V2["accepts"][0], None]}), b"")
    assert isinstance(found, Challenge)
    assert len(found.options) == 1


def test_a_number_where_an_amount_should_be_text_is_malformed() -> None:
    entry = {**V2["accepts"][0], "amount": 1000.5}
    assert refusal(read_challenge(header({**V2, "accepts": [entry]}), b"")) == RefusalReason.OFFER_MALFORMED


def doubled(content: object, key: str, first: str) -> bytes:
    """The JSON with the key twice, the first time with another value."""
    return json.dumps(content).replace(f'"{key}":', f'"{key}": {first}, "{key}":', 1).encode()


@pytest.mark.parametrize(
    "key", ["accepts", "x402Version", "scheme", "network", "asset", "amount", "payTo", "extra", "feePayer"]
)
def test_a_key_that_counts_and_stands_twice_is_malformed(key: str) -> None:
    for content in (V2, V1):
        name = "maxAmountRequired" if key == "amount" and content is V1 else key
        assert refusal(read_challenge({}, doubled(content, name, '"1"'))) == RefusalReason.OFFER_MALFORMED


@pytest.mark.parametrize("key", ["error", "resource", "extensions", "payment-identifier"])
def test_metadata_that_stands_twice_is_read_over_and_not_echoed(key: str) -> None:
    found = read_challenge({}, doubled(V2, key, '"1"'))
    assert isinstance(found, Challenge)
    assert len(found.options) == 1
    kept = {"resource": found.resource_raw, "extensions": found.extensions_raw}
    assert kept.get(key) is None


@pytest.mark.parametrize("spoilt", ["{}, e30=", ";{}", "{}!", "\u00e9{}"])
def test_a_header_that_is_not_all_base64_is_malformed(spoilt: str) -> None:
    """Lax decoders skip what is no base64, and read only the first of two headers that differ."""
    encoded = header(V2)["payment-required"]
    assert (
        refusal(read_challenge({"payment-required": spoilt.format(encoded, encoded)}, b""))
        == RefusalReason.OFFER_MALFORMED
    )


@pytest.mark.parametrize(("name", "python_name"), [("payTo", "pay_to"), ("amount", "Amount"), ("asset", "Asset")])
def test_only_the_protocols_names_are_read(name: str, python_name: str) -> None:
    entry = {key: value for key, value in V2["accepts"][0].items() if key != name} | {python_name: "1000"}
    assert refusal(read_challenge(header({**V2, "accepts": [entry]}), b"")) == RefusalReason.OFFER_MALFORMED


@pytest.mark.parametrize("version", [2.0, True, "2", None, 3])
def test_a_version_that_is_not_the_whole_number_is_malformed(version: object) -> None:
    assert refusal(read_challenge(header({**V2, "x402Version": version}), b"")) == RefusalReason.OFFER_MALFORMED


@pytest.mark.parametrize(
    "text", ["1e999", "NaN", "9" * 5_000, "[" * 100 + "]" * 100, r'"\ud800"', r'{"\udfff": 1}', '{"a": 1, "a": 2}']
)
def test_what_cannot_be_echoed_is_left_out_or_refused_where_it_must_be_echoed(text: str) -> None:
    content = json.dumps({**V2, "extensions": {"a": "HERE", "b": 1}}).replace('"HERE"', text)
    found = read_challenge({}, content.encode())
    assert isinstance(found, Challenge)
    assert found.extensions_raw == '{"b": 1}'
    content = json.dumps(V2).replace('"kept"', text)
    assert refusal(read_challenge({}, content.encode())) == RefusalReason.OFFER_MALFORMED


def test_deep_nesting_is_malformed_and_no_crash() -> None:
    deep = ("[" * 50_000).encode()
    assert refusal(read_challenge({}, deep)) == RefusalReason.OFFER_MALFORMED


def test_a_receipt_is_read_from_either_header_and_broken_ones_are_none() -> None:
    content = {"success": False, "transaction": "", "network": "solana-devnet", "errorReason": "settlement_pending"}
    encoded = base64.b64encode(json.dumps(content).encode()).decode()
    for name in ("payment-response", "x-payment-response"):
        found = read_receipt({name: encoded})
        assert found is not None
        assert (found.success, found.transaction, found.error_reason) == (False, None, "settlement_pending")
    for broken in ("", "!!!", "bnVsbA==", base64.b64encode(b"[]").decode(), "A" * 100_000):
        assert read_receipt({"payment-response": broken}) is None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"payer": 7},
        {"network": None},
        {"extensions": "x"},
        {"amount": 1000},
        {"more": {"a": []}},
        {"payer": "\ud800"},
    ],
    ids=repr,
)
def test_a_receipt_is_read_whatever_stands_beside_what_it_claims(changes: dict[str, Any]) -> None:
    content = {"success": True, "transaction": "5x", "network": "solana-devnet", "payer": "p"} | changes
    text = json.dumps(content).encode()
    for encoded in (base64.b64encode(text), base64.urlsafe_b64encode(text).rstrip(b"=")):
        found = read_receipt({"payment-response": encoded.decode()})
        assert found is not None
        assert (found.success, found.transaction) == (True, "5x")
        assert found.raw["transaction"] == "5x"
    assert read_receipt({"payment-response": "!!!", "x-payment-response": encoded.decode()}) == found


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@given(st.binary(max_size=300) | JSON_VALUES.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_whatever_a_seller_sends_nothing_is_raised(content: bytes, in_header: bool) -> None:
    headers = {"payment-required": base64.b64encode(content).decode()} if in_header else {}
    assert read_challenge(headers, content).kind in ("challenge", "refused")
    read_receipt({"payment-response": base64.b64encode(content).decode()})


@given(st.text(max_size=200))
def test_whatever_text_stands_in_a_header_nothing_is_raised(text: str) -> None:
    assert read_challenge({"payment-required": text}, b"").kind in ("challenge", "refused")
    read_receipt({"payment-response": text})


@given(st.sampled_from(sorted(V2["accepts"][0])), JSON_VALUES)
def test_a_field_of_any_value_is_read_or_refused(field: str, value: Any) -> None:
    entry = {**V2["accepts"][0], field: value}
    assert read_challenge(header({**V2, "accepts": [entry]}), b"").kind in ("challenge", "refused")
