"""Offers as honest sellers really send them: each is read as what it means, chosen and echoed as far as it must be."""

import base64
import gc
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from x402.http.utils import decode_payment_signature_header
from x402.schemas import PaymentPayload

from autopay.adapters.x402.wire import MAX_EXTENSIONS_ECHO_BYTES, MOST_FOREIGN, read_challenge
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.offer import MAX_ACCEPTED_BYTES, BuyerLimits, Challenge, Offer, choose
from tests.unit.test_signer import MINT, order, signed

PAYEE, FACILITATOR = "9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin", "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4"
URL = "https://a.example/x"
WANTS = BuyerLimits(network=Network.DEVNET, mints={Currency.USDC: MINT.mint})
EVM = {
    "scheme": "exact",
    "network": "eip155:84532",
    "amount": "1000",
    "asset": "0x" + "03" * 20,
    "payTo": "0x" + "Ab" * 20,
    "maxTimeoutSeconds": 60,
    "extra": {"name": "USDC", "version": "2"},
}
MAX_HEADER_BYTES, MAX_HEADERS_BYTES = 8_000, 16_000
"""What Apache, nginx and gunicorn take of one header, and Node.js of all."""


def entry(**changes: Any) -> dict[str, Any]:
    fields = {
        "scheme": "exact",
        "network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
        "amount": "1000",
        "asset": MINT.mint,
        "payTo": PAYEE,
        "maxTimeoutSeconds": 60,
        "extra": {"feePayer": FACILITATOR},
    }
    return fields | changes


def v2(*accepts: Any, **changes: Any) -> dict[str, Any]:
    offer = {"x402Version": 2, "error": "Payment required", "resource": {"url": URL}, "accepts": accepts or [entry()]}
    return offer | changes


def v1(**changes: Any) -> dict[str, Any]:
    fields = entry(network="solana-devnet", resource=URL, description="data", mimeType="application/json")
    fields["maxAmountRequired"] = fields.pop("amount")
    return {"x402Version": 1, "error": "payment required", "accepts": [fields | changes]}


def raw(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False).encode()


def b64(content: Any) -> str:
    return base64.b64encode(raw(content)).decode()


def url_safe(content: Any) -> str:
    return base64.urlsafe_b64encode(raw(content)).decode().rstrip("=")


def agreed(header: str | None, body: bytes = b"{}") -> Offer:
    found = read_challenge({} if header is None else {"payment-required": header}, body)
    assert isinstance(found, Challenge), found
    chosen = choose(found, WANTS)
    assert isinstance(chosen, Offer), chosen
    assert (chosen.amount_atomic, chosen.pay_to, chosen.fee_payer) == (1_000, PAYEE, FACILITATOR)
    return chosen


def echoed(offer: Offer) -> tuple[dict[str, Any], int]:
    """The payment as an official server reads it, and the length of its header."""
    payment = order(**offer.model_dump(exclude={"kind", "network", "currency"}))
    _, content, _ = signed(payment)
    header = b64(content)
    read = decode_payment_signature_header(header)
    assert offer.version == 1 or isinstance(read, PaymentPayload)
    return content, len(header)


@pytest.mark.parametrize(
    "resource",
    [
        *("http://10.0.3.7:8080/x", "https://other.example/", "/x", "x", "", "javascript:pay()", "\udc00"),
        *(
            None,
            7,
            True,
            [],
            ["a"],
            {},
            {"url": 7},
            {"url": None},
            {"url": "/x", "tags": "a"},
            {"url": "/x", "mimeType": []},
        ),
    ],
    ids=repr,
)
def test_what_the_resource_is_called_does_not_matter(resource: Any) -> None:
    for called in (resource, {"url": resource}):
        content, _ = echoed(agreed(None, json.dumps(v2(resource=called)).encode()))
        assert content.get("resource") in (None, called)
        agreed(None, json.dumps(v1(resource=called)).encode())


@pytest.mark.parametrize("name", ["error", "extensions", "resource", "accepts_note", "description"])
@pytest.mark.parametrize("value", [None, 7, 1.5, True, "text", [], ["x", {}], {"a": {"b": []}}], ids=repr)
def test_metadata_of_an_offer_may_be_of_any_type(name: str, value: Any) -> None:
    echoed(agreed(b64(v2(**{name: value}))))
    agreed(None, raw(v1() | {name: value}))


@pytest.mark.parametrize("name", ["resource", "description", "mimeType", "outputSchema", "tags", "maxTimeoutSeconds"])
@pytest.mark.parametrize("value", [None, 7, "text", ["x"], {"a": 1}], ids=repr)
def test_metadata_of_a_v1_entry_may_be_of_any_type(name: str, value: Any) -> None:
    agreed(None, raw(v1(**{name: value})))


def test_metadata_may_be_missing() -> None:
    bare = {"x402Version": 2, "accepts": [entry()]}
    agreed(b64(bare))
    fields = v1()["accepts"][0]
    agreed(
        None,
        raw(
            {
                "x402Version": 1,
                "accepts": [{k: v for k, v in fields.items() if k not in ("resource", "description", "mimeType")}],
            }
        ),
    )


@pytest.mark.parametrize(
    "body",
    [
        raw(v1()),
        raw({"x402Version": 1, "accepts": [EVM | {"network": "base-sepolia", "maxAmountRequired": "1000"}]}),
        raw(v2(entry(amount="9000"))),
        raw({"error": "payment required"}),
        *(b"<html>Pay</html>", b"", b"\xff\xfe\x00", b"[" * 10_000, b"x" * 300_000),
    ],
    ids=["v1", "v1 of another chain", "v2 with another price", "its own", "html", "none", "bytes", "deep", "long"],
)
def test_the_body_beside_a_readable_header_is_the_servers_concern(body: bytes) -> None:
    assert agreed(b64(v2(EVM, entry())), body) == agreed(b64(v2(EVM, entry())))


TEXTS = v2(resource={"url": URL, "description": "\u00bf\u00ff???>>>~~~ \u00fb\u00ef\u00be 1\u00a2"})


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(url_safe, id="base64url without padding"),
        pytest.param(lambda offer: b64(offer).rstrip("="), id="without padding"),
        pytest.param(lambda offer: url_safe(offer) + "==", id="too much padding"),
        pytest.param(lambda offer: f"  {b64(offer)}\t", id="blanks around it"),
        pytest.param(lambda offer: " ".join(b64(offer)[i : i + 76] for i in range(0, 9_999, 76)), id="folded"),
        pytest.param(lambda offer: f"{b64(offer)}, {b64(offer)}", id="the same header twice"),
        pytest.param(lambda offer: base64.b64encode(b"\xef\xbb\xbf" + raw(offer)).decode(), id="BOM"),
        pytest.param(lambda offer: base64.b64encode(json.dumps(offer).encode("utf-16")).decode(), id="UTF-16"),
        pytest.param(
            lambda offer: base64.b64encode(json.dumps(offer, ensure_ascii=False).encode("latin-1")).decode(),
            id="Latin-1",
        ),
        pytest.param(lambda offer: base64.b64encode(json.dumps(offer, indent=4).encode()).decode(), id="indented"),
    ],
)
def test_a_header_is_read_in_the_forms_that_mean_one_thing(write: Callable[[Any], str]) -> None:
    content, _ = echoed(agreed(write(TEXTS)))
    assert content["resource"] == TEXTS["resource"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_a_body_is_read_in_the_encodings_that_can_be_told_apart(encoding: str) -> None:
    agreed(None, json.dumps(v1(description="Z\u00fcrich"), ensure_ascii=False).encode(encoding))
    agreed(None, b"\r\n " + json.dumps(v2(entry())).encode() + b"\n")


@pytest.mark.parametrize("count", [40, 200])
def test_many_ways_to_pay_are_read_and_ours_is_found_at_any_place(count: int) -> None:
    foreign = [EVM | {"network": f"eip155:{number}"} for number in range(count)]
    for accepts in ([*foreign, entry()], [entry(), *foreign], [*foreign, entry(), *foreign]):
        agreed(b64(v2(*accepts)))
    found = read_challenge({"payment-required": b64(v2(*foreign, entry()))}, b"")
    assert isinstance(found, Challenge)
    assert len(found.options) == MOST_FOREIGN + 1, "the others would only fill the workflow's history"


def test_four_hundred_ways_to_pay_with_schemas_fit_into_a_body() -> None:
    offer = v1(outputSchema={"a": "x" * 100})
    agreed(None, raw(offer | {"accepts": offer["accepts"] * 400}))


@pytest.mark.parametrize("size", [100, 2_000, 16_000, 60_000])
def test_large_metadata_is_no_reason_to_refuse_and_never_too_long_for_a_header(size: int) -> None:
    identifier = {"info": {"required": False}, "schema": {}}
    offer = agreed(
        b64(
            v2(
                extensions={"bazaar": {"x": "y" * size}, "other": {"info": 1}, "payment-identifier": identifier},
                resource={"url": URL, "description": "d" * (size // 4)},
            )
        )
    )
    content, length = echoed(offer)
    assert length <= MAX_HEADER_BYTES
    assert content["extensions"]["payment-identifier"]["info"]["id"] == order().request_key
    assert content["extensions"]["other"] == {"info": 1}
    assert ("bazaar" in content["extensions"]) == (size < MAX_EXTENSIONS_ECHO_BYTES - 300)


def test_an_accepted_entry_is_echoed_as_it_came_up_to_what_servers_take() -> None:
    filler = MAX_ACCEPTED_BYTES - len(json.dumps(entry(extra={"feePayer": FACILITATOR, "note": "", "memo": "x" * 256})))
    long = entry(extra={"feePayer": FACILITATOR, "note": "n" * filler, "memo": "x" * 256})
    full = {f"e{number}": "x" * 400 for number in range(9)}
    content, length = echoed(agreed(b64(v2(long, extensions=full, resource={"url": URL, "description": "d" * 900}))))
    assert content["accepted"] == long
    assert length <= MAX_HEADERS_BYTES


def test_a_broken_way_to_pay_does_not_hide_a_good_one() -> None:
    broken: list[Any] = [
        None,
        7,
        "x",
        [],
        {},
        EVM | {"extra": None},
        entry(amount=1000),
        entry(payTo=None),
        entry(extra=[]),
    ]
    agreed(b64(v2(*broken, entry())))


MANY_KEYS = ",".join(f'"{number:x}": 1' for number in range(22_000))
LISTS = f"[{'[],' * 84_000}[]]"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(f'{{"x402Version": 2, "accepts": [], "accepts": [], {MANY_KEYS}}}', id="many keys, one twice"),
        pytest.param(json.dumps(v2(extensions="HERE")).replace('"HERE"', f"{{{MANY_KEYS}}}"), id="many extensions"),
        pytest.param(json.dumps(v2(extensions={"a": "HERE"})).replace('"HERE"', LISTS), id="lists in an extension"),
        pytest.param(json.dumps(v2(entry(extra={"a": "HERE"}))).replace('"HERE"', LISTS), id="lists in an entry"),
        pytest.param(f'{{"x402Version": 2, "accepts": [{"{}," * 80_000}{{}}]}}', id="empty entries"),
        pytest.param("[" * 260_000, id="deep"),
        pytest.param("9" * 260_000, id="digits"),
    ],
)
def test_the_longest_offer_does_not_hold_up_a_worker(content: str) -> None:
    assert any(seconds_of_cpu(content) < 1 for _ in range(5)), "a slow moment of the machine, five times"


def seconds_of_cpu(content: str) -> float:
    """What reading the offer takes, without a collection of the test run's own garbage."""
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        read_challenge({}, content.encode())
        return time.process_time() - began
    finally:
        gc.enable()
