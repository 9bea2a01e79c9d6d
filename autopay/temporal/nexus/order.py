"""What a caller of the service wants, checked: as the agent takes it. Nothing of it is trusted."""

import base64
import binascii
import hashlib
import re
from typing import Literal

from pydantic import ValidationError

from autopay.domain.money import parse_currency, to_atomic
from autopay.domain.payment.exchange import RequestExtras
from autopay.domain.request import AGENT_NAME_PATTERN, MAX_AGE_S, Method, RequestSpec, is_request_id
from autopay.domain.text.headers import checked_headers
from autopay.domain.text.hosts import check_url
from autopay.domain.values import validation_message
from autopay.temporal.nexus.contract import FetchInput

MAX_EXTRAS_BYTES = 290_000
"""Of headers and body together: sealed, they have to fit `RequestSpec.sealed_extras`."""

PAYMENT_HEADERS = ("x-payment", "payment-signature")


def spec_of(wanted: FetchInput) -> RequestSpec:
    """The request as its agent takes it, but for headers and body, which are sealed later.

    Raises:
        ValueError: it cannot be made; the message says what is wrong.
    """
    check_url(wanted.url)
    if wanted.id is None or not is_request_id(wanted.id):
        raise ValueError(f"{_short(wanted.id)} is not an id: up to 120 letters, digits and '._:@-'")
    if wanted.agent is None or not re.fullmatch(AGENT_NAME_PATTERN, wanted.agent):
        raise ValueError(f"{_short(wanted.agent)} is not an agent's name: up to 60 letters, digits, '.', '_' and '-'")
    body = _body(wanted)
    _check_headers(wanted.headers or {})
    try:
        return RequestSpec(
            request_id=wanted.id,
            url=wanted.url,
            method=_method(wanted.method, body),
            max_price_atomic=_price(wanted.max_price),
            currency=None if wanted.currency is None else parse_currency(wanted.currency),
            body_hash=None if body is None else hashlib.sha256(body).hexdigest(),
            max_age_s=_age(wanted.max_age_s),
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {validation_message(first)}") from None


def extras_of(wanted: FetchInput) -> RequestExtras | None:
    """Its headers and body, which may hold secrets; None without any."""
    body = _body(wanted)
    if not wanted.headers and body is None:
        return None
    return RequestExtras(headers=checked_headers(wanted.headers or {}), body=body)


def _body(wanted: FetchInput) -> bytes | None:
    if wanted.content is not None and wanted.content_base64 is not None:
        raise ValueError("content and content_base64 are both set: set one of them")
    if wanted.content_base64 is None:
        body = None if wanted.content is None else wanted.content.encode()
    else:
        try:
            body = base64.b64decode(wanted.content_base64, validate=True)
        except binascii.Error:
            raise ValueError("content_base64 is not base64") from None
    size = len(body or b"") + sum(len(name) + len(value) for name, value in (wanted.headers or {}).items())
    if size > MAX_EXTRAS_BYTES:
        raise ValueError(f"headers and body have {size} bytes, at most {MAX_EXTRAS_BYTES} are possible")
    return body


def _method(given: str | None, body: bytes | None) -> Method:
    usual: Literal["GET", "POST"] = "GET" if body is None else "POST"
    match (given or usual).upper():
        case "GET" if body is None:
            return "GET"
        case "GET":
            raise ValueError("a GET has no body: leave the method out, or say POST")
        case "POST":
            return "POST"
        case _:
            raise ValueError(f"{_short(given)} is not a method: GET or POST")


def _price(text: str | None) -> int | None:
    if text is None:
        return None
    price = to_atomic(text)
    if price == 0:
        raise ValueError("the maximum price must be above 0")
    return price


def _age(seconds: int | None) -> int | None:
    if seconds is not None and not 0 <= seconds <= MAX_AGE_S:
        raise ValueError(f"{seconds} seconds are no age: 0 to {MAX_AGE_S}")
    return seconds


def _check_headers(headers: dict[str, str]) -> None:
    for name in checked_headers(headers):
        if name.lower() in PAYMENT_HEADERS:
            raise ValueError(f"{name} carries the payment, which Autopay makes itself")


def _short(text: str | None) -> str:
    return ascii(text)[:100]
