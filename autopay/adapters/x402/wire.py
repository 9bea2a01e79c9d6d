"""x402 on the wire, with the official SDK's types: 402 answers in, receipts in. Bounded before it is parsed.

Every malformed thing becomes a `Refused` or `None`; nothing here raises on what a seller sent.
"""

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from x402.extensions.payment_identifier import PAYMENT_IDENTIFIER, is_payment_identifier_extension
from x402.http.utils import decode_payment_response_header
from x402.schemas import PaymentRequirements, ResourceInfo
from x402.schemas.v1 import PaymentRequirementsV1

from autopay.domain.payment.exchange import Receipt
from autopay.domain.payment.offer import MAX_OPTIONS, Challenge, Option
from autopay.domain.refusal import RefusalReason, Refused

MAX_OFFER_CHARS = 65_536
MAX_EXTENSIONS_CHARS = 16_384
MAX_DEPTH = 64
"""Of lists and objects within each other: what is read near the parser's own limit might not be echoed any more."""

_REQUIRED = {
    1: ("scheme", "network", "asset", "maxAmountRequired", "payTo"),
    2: ("scheme", "network", "asset", "amount", "payTo"),
}
"""Texts of an entry, by the names that the protocol has: the SDK's types take their Python names, too."""


class _Broken(ValueError):
    """A 402 that is no x402 offer; the text says what is wrong."""


def read_challenge(headers: Mapping[str, str], body: bytes) -> Challenge | Refused:
    """The offer of a 402: header PAYMENT-REQUIRED (v2) or JSON body (v1, and v2 from sellers that put it there).

    Refused: OFFER_MALFORMED, OFFER_TOO_LARGE, or OFFERS_DISAGREE when header and body ask different things.
    """
    header = headers.get("payment-required")
    if len(header or "") > MAX_OFFER_CHARS:
        return Refused(reason=RefusalReason.OFFER_TOO_LARGE, message=f"the offer exceeds {MAX_OFFER_CHARS} characters")
    try:
        in_header = _challenge(_loads(_decoded(header))) if header is not None else None
        in_body = _body_challenge(body, required=header is None)
    except _Broken as broken:
        return Refused(reason=RefusalReason.OFFER_MALFORMED, message=f"the seller's 402 is not an x402 offer: {broken}")
    except (ValueError, RecursionError):
        return Refused(
            reason=RefusalReason.OFFER_MALFORMED, message="the seller's 402 is not an x402 offer: unreadable"
        )
    if in_header is not None and in_body is not None and _asks(in_header) != _asks(in_body):
        return Refused(reason=RefusalReason.OFFERS_DISAGREE, message="the offers in header and body differ")
    chosen = in_header or in_body
    assert chosen is not None
    return chosen


def read_receipt(headers: Mapping[str, str]) -> tuple[Receipt, dict[str, object]] | None:
    """The receipt of an answer and its raw content, from either version's header; None when there is none to read."""
    value = headers.get("payment-response") or headers.get("x-payment-response")
    if value is None or len(value) > MAX_OFFER_CHARS:
        return None
    try:
        settled = decode_payment_response_header(value)
    except (ValueError, ValidationError, RecursionError):
        return None
    receipt = Receipt(
        success=settled.success, transaction=settled.transaction or None, error_reason=settled.error_reason
    )
    return receipt, settled.model_dump(mode="json", by_alias=True, exclude_none=True)


def _body_challenge(body: bytes, *, required: bool) -> Challenge | None:
    if len(body) > MAX_OFFER_CHARS:
        if required:
            raise _Broken(f"a body of over {MAX_OFFER_CHARS} bytes")
        return None
    try:
        content = _loads(body.decode())
    except (ValueError, RecursionError):
        if required:
            raise _Broken("no PAYMENT-REQUIRED header, and the body is not JSON") from None
        return None
    if not required and not (isinstance(content, dict) and "accepts" in content):
        return None
    return _challenge(content)


def _challenge(content: Any) -> Challenge:
    if not isinstance(content, dict):
        raise _Broken("not a JSON object")
    version, accepts = content.get("x402Version"), content.get("accepts")
    if type(version) is not int or version not in (1, 2):
        raise _Broken("x402Version is neither 1 nor 2")
    if not isinstance(accepts, list):
        raise _Broken("accepts is not a list")
    entries = accepts[: MAX_OPTIONS + 1]
    options = [option for entry in entries if (option := _option(entry, version)) is not None]
    if accepts and not options:
        raise _Broken("no entry of accepts has the required fields")
    extensions = content.get("extensions") if version == 2 else None
    resource = content.get("resource") if version == 2 else None
    if resource is not None:
        ResourceInfo.model_validate(resource)  # as it is echoed; a ValidationError is a ValueError
    return Challenge(
        version=version,
        options=tuple(options),
        resource_url=_resource_url(resource, entries, version),
        resource_raw=json.dumps(resource) if isinstance(resource, dict) else None,
        extensions_raw=_bounded(extensions),
        offers_payment_identifier=isinstance(extensions, dict)
        and is_payment_identifier_extension(extensions.get(PAYMENT_IDENTIFIER)),
    )


def _option(entry: Any, version: int) -> Option | None:
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in _REQUIRED[version]):
        return None
    try:
        fields: PaymentRequirements | PaymentRequirementsV1 = (
            PaymentRequirements.model_validate(entry) if version == 2 else PaymentRequirementsV1.model_validate(entry)
        )
    except ValidationError:
        return None
    extra = fields.extra or {}
    fee_payer, memo = extra.get("feePayer"), extra.get("memo")
    return Option(
        scheme=fields.scheme,
        network=fields.network,
        asset=fields.asset,
        amount=fields.get_amount(),
        pay_to=fields.pay_to,
        fee_payer=fee_payer if isinstance(fee_payer, str) else None,
        memo=memo if isinstance(memo, str) and memo else None,
        raw=json.dumps(entry),
    )


def _resource_url(resource: Any, entries: list[Any], version: int) -> str | None:
    if version == 1:
        first = entries[0] if entries and isinstance(entries[0], dict) else {}
        resource = {"url": first.get("resource")}
    url = resource.get("url") if isinstance(resource, dict) else None
    return url if isinstance(url, str) and url else None


def _bounded(extensions: Any) -> str | None:
    if not isinstance(extensions, dict) or not extensions:
        return None
    text = json.dumps(extensions)
    if len(text) > MAX_EXTENSIONS_CHARS:
        raise _Broken("extensions are too large")
    return text


def _asks(challenge: Challenge) -> set[tuple[str, str, str]]:
    return {(option.asset, option.amount, option.pay_to) for option in challenge.options}


def _decoded(header: str) -> str:
    """Base64 and nothing else: lax decoders skip what is none, and stop where a first of two headers is padded."""
    return base64.b64decode(header.strip(), validate=True).decode()


def _loads(text: str) -> Any:
    content = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constants, parse_float=_finite)
    _require_shallow(content, MAX_DEPTH)
    json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair: UnicodeEncodeError, a ValueError
    return content


def _require_shallow(value: Any, depth: int) -> None:
    if depth < 0:
        raise _Broken(f"nested over {MAX_DEPTH} deep")
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            _require_shallow(item, depth - 1)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise _Broken("a key stands twice")
    return content


def _no_constants(text: str) -> Any:
    raise _Broken(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Broken(f"{text[:20]} is too large to be echoed")
    return number
