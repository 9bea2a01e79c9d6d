"""Which 402 is for an agent to pay, and which request an Idempotency-Key is."""

import httpx
import pytest

from autopay.client.errors import InvalidCall
from autopay.client.paid_http import MOST_DEMAND_BYTES, carries_payment, id_of_key, is_x402_demand
from autopay.domain.request import is_request_id

V1 = b'{"x402Version": 1, "accepts": [], "error": "pay"}'


@pytest.mark.parametrize(
    ("status", "headers", "body", "asks"),
    [
        pytest.param(402, {"payment-required": "e30="}, b"", True, id="v2, in a header"),
        pytest.param(402, {}, V1, True, id="v1, in the body"),
        pytest.param(402, {}, b"\xef\xbb\xbf" + V1, True, id="v1 with a byte order mark"),
        pytest.param(402, {"payment-required": "???"}, b"<html>", True, id="unreadable, but meant: an agent says why"),
        pytest.param(402, {}, b'{"error": {"code": "insufficient_quota"}}', False, id="a quota of one's own account"),
        pytest.param(402, {"www-authenticate": "L402 macaroon=1"}, b"", False, id="another protocol"),
        pytest.param(402, {}, b"[" * 100_000, False, id="nested until the parser gives up"),
        pytest.param(402, {}, V1 + b" " * MOST_DEMAND_BYTES, False, id="too long to be one"),
        pytest.param(402, {}, b"", False, id="no body"),
        pytest.param(200, {"payment-required": "e30="}, V1, False, id="not a 402"),
        pytest.param(403, {}, V1, False, id="forbidden"),
    ],
)
def test_only_an_x402_demand_goes_to_an_agent(status: int, headers: dict[str, str], body: bytes, asks: bool) -> None:
    assert is_x402_demand(status, httpx.Headers(headers), body) is asks


@pytest.mark.parametrize(
    ("key", "found"),
    [
        pytest.param("report-7", "report-7", id="fit to be an id"),
        pytest.param('"8e03978e-40d5"', "8e03978e-40d5", id="a structured field's quotes"),
        pytest.param("  spaced ", "spaced", id="blanks around it"),
    ],
)
def test_a_key_that_can_be_an_id_is_that_id(key: str, found: str) -> None:
    assert id_of_key(key) == found


def test_any_other_key_has_an_id_of_its_own_and_always_the_same() -> None:
    keys = ["order 7", "order/7", "-7", "ü", "x" * 121, "order\t7", '"']
    ids = [id_of_key(key) for key in keys]
    assert all(is_request_id(each) for each in ids)
    assert len(set(ids)) == len(keys)
    assert ids == [id_of_key(key) for key in keys]


@pytest.mark.parametrize("key", ["", "  ", '""', "x" * 2_001])
def test_a_key_that_says_nothing_is_refused(key: str) -> None:
    with pytest.raises(InvalidCall, match="Idempotency-Key"):
        id_of_key(key)


def test_a_caller_that_pays_by_itself_is_known_by_its_header() -> None:
    assert carries_payment({"Payment-Signature": "x"})
    assert carries_payment({"x-payment": "x"})
    assert not carries_payment({"payment-required": "x"})
