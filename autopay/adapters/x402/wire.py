"""x402 on the wire, with the official SDK's types: 402 answers in, receipts in. Bounded before it is parsed.

Every malformed thing becomes a `Refused` or `None`; nothing here raises on what a seller sent. Only what a payment
needs must be right; the rest of an offer may be of any type, and what of it cannot be echoed is left out.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from x402.extensions.payment_identifier import PAYMENT_IDENTIFIER, is_payment_identifier_extension
from x402.schemas import PaymentRequirements, ResourceInfo

from autopay.adapters.x402.decoding import DoubledKeys, base64_bytes, is_echoable, read_json
from autopay.domain.payment.exchange import Receipt
from autopay.domain.payment.offer import MAX_ACCEPTED_BYTES, Challenge, Option
from autopay.domain.refusal import RefusalReason, Refused

MAX_OFFER_BYTES = 262_144
"""Of an offer in a body, or in a header before it is decoded (where the HTTP client ends at 100 kB)."""

MAX_RECEIPT_CHARS = 65_536
MAX_RESOURCE_ECHO_BYTES, MAX_EXTENSIONS_ECHO_BYTES = 1_000, 3_000
"""Of `resource` and `extensions` in the payment: with a usual `accepted` its header stays below the 8 kB that Apache,
nginx and gunicorn take of one. What does not fit is not echoed, which the protocol allows; `accepted` always is."""

MOST_FOREIGN = 16
"""Ways to pay on other chains that are kept, to be named in a refusal; ours are all kept."""

MAX_SHOWN_CHARS = 500

_TERMS = {
    1: ("scheme", "network", "asset", "maxAmountRequired", "payTo"),
    2: ("scheme", "network", "asset", "amount", "payTo"),
}
"""Texts of an entry, by the names that the protocol has: the SDK's types take their Python names, too."""


class _Broken(ValueError):
    """A 402 that is no x402 offer; the text says what is wrong."""


def read_challenge(headers: Mapping[str, str], body: bytes) -> Challenge | Refused:
    """The offer of a 402: a readable header PAYMENT-REQUIRED alone, or else the JSON body (v1, or v2 put there).

    Refused: OFFER_MALFORMED or OFFER_TOO_LARGE, of the header when there is one.
    """
    header = headers.get("payment-required")
    in_header = _read(len(header), lambda: base64_bytes(header)) if header is not None else None
    if isinstance(in_header, Challenge):
        return in_header
    in_body = _read(len(body), lambda: body)
    return in_body if isinstance(in_body, Challenge) or in_header is None else in_header


def read_receipt(headers: Mapping[str, str]) -> Receipt | None:
    """The receipt of an answer, from either version's header; None when there is none to read.

    It is a claim, so that only `success` must be there; the chain is asked with what it names, or without.
    """
    for name in ("payment-response", "x-payment-response"):
        if (value := headers.get(name)) and len(value) <= MAX_RECEIPT_CHARS and (found := _receipt(value)) is not None:
            return found
    return None


def _receipt(value: str) -> Receipt | None:
    try:
        content = read_json(base64_bytes(value))
    except ValueError:
        return None
    if not isinstance(content, dict) or not isinstance(content.get("success"), bool):
        return None
    transaction, reason = (
        text if isinstance(text := content.get(name), str) and is_echoable(text) else None
        for name in ("transaction", "errorReason")
    )
    told = {"success": content["success"], "transaction": transaction, "errorReason": reason}
    kept = (content if is_echoable(content) else {}) | told
    raw = {name: value for name, value in kept.items() if value is not None}
    return Receipt(success=content["success"], transaction=transaction or None, error_reason=reason, raw=raw)


def _read(size: int, content: Callable[[], bytes]) -> Challenge | Refused:
    if size > MAX_OFFER_BYTES:
        message = f"the seller's 402 is not read as an offer: it has {size} bytes, {MAX_OFFER_BYTES} are read"
        return Refused(reason=RefusalReason.OFFER_TOO_LARGE, message=message)
    try:
        return _challenge(_parsed(content))
    except _Broken as broken:
        message = f"the seller's 402 is not an x402 offer: {broken}"
        return Refused(reason=RefusalReason.OFFER_MALFORMED, message=message)


def _parsed(content: Callable[[], bytes]) -> Any:
    try:
        return read_json(content())
    except ValueError:
        raise _Broken("neither a readable PAYMENT-REQUIRED header nor a JSON body") from None


def _challenge(content: Any) -> Challenge:
    if not isinstance(content, dict):
        raise _Broken("not a JSON object")
    if _is_doubled(content, ("x402Version", "accepts")):
        raise _Broken("a key that counts stands twice")
    version, accepts = content.get("x402Version"), content.get("accepts")
    if type(version) is not int or version not in (1, 2):
        raise _Broken("x402Version is neither 1 nor 2")
    if not isinstance(accepts, list):
        raise _Broken("accepts is not a list")
    options = _options(accepts, version)
    if accepts and not options:
        raise _Broken("no entry of accepts has the required fields")
    resource = _resource_to_echo(content) if version == 2 else None
    extensions = _extensions_to_echo(content) if version == 2 else {}
    return Challenge(
        version=version,
        options=options,
        resource_url=_resource_url(content.get("resource") if version == 2 else accepts),
        resource_raw=json.dumps(resource) if resource is not None else None,
        extensions_raw=json.dumps(extensions) if extensions else None,
        offers_payment_identifier=is_payment_identifier_extension(extensions.get(PAYMENT_IDENTIFIER)),
    )


def _options(accepts: list[Any], version: int) -> tuple[Option, ...]:
    """The readable entries; of those of other chains the first few."""
    found: list[Option] = []
    foreign = 0
    for entry in accepts:
        option = _option(entry, version)
        if option is None:
            continue
        foreign += not option.network.startswith("solana")
        if option.network.startswith("solana") or foreign <= MOST_FOREIGN:
            found.append(option)
    return tuple(found)


def _option(entry: Any, version: int) -> Option | None:
    """The entry, None when a term is missing, of another type or doubled; a v2 entry must also be fit to be echoed.

    A payment in v1 echoes nothing of the entry, whose schemas may be long: only its terms are kept.
    """
    terms = _TERMS[version]
    if not isinstance(entry, dict) or not all(isinstance(entry.get(name), str) for name in terms):
        return None
    given = entry.get("extra")
    extra = given if isinstance(given, dict) else {}
    fee_payer, memo = extra.get("feePayer"), extra.get("memo")
    told = {"feePayer": fee_payer if isinstance(fee_payer, str) else None, "memo": memo}
    if not (memo is None or isinstance(memo, str)) or not is_echoable([*(entry[name] for name in terms), told]):
        return None
    if _is_doubled(entry, (*terms, "extra")) or _is_doubled(extra, tuple(told)):
        return None
    raw = _text(entry if version == 2 else {name: entry[name] for name in terms} | {"extra": told})
    if (
        version == 2
        and len(raw) <= MAX_ACCEPTED_BYTES
        and not (is_echoable(entry) and _is_valid(PaymentRequirements, entry))
    ):
        return None
    return Option(
        scheme=entry["scheme"],
        network=entry["network"],
        asset=entry["asset"],
        amount=entry[terms[3]],
        pay_to=entry["payTo"],
        fee_payer=told["feePayer"],
        memo=memo or None,
        raw=raw[: MAX_ACCEPTED_BYTES + 1],  # what is longer is refused
    )


def _resource_to_echo(content: dict[str, Any]) -> dict[str, Any] | None:
    resource = content.get("resource")
    if _is_doubled(content, ("resource",)) or not isinstance(resource, dict):
        return None
    fits = _size(resource) <= MAX_RESOURCE_ECHO_BYTES and is_echoable(resource) and _is_valid(ResourceInfo, resource)
    return resource if fits else None


def _extensions_to_echo(content: dict[str, Any]) -> dict[str, Any]:
    """The extensions that can be echoed and fit, each whole; the payment identifier goes before all others."""
    extensions = content.get("extensions")
    if _is_doubled(content, ("extensions",)) or not isinstance(extensions, dict):
        return {}
    kept: dict[str, Any] = {}
    left = MAX_EXTENSIONS_ECHO_BYTES
    for name in sorted(extensions, key=lambda each: each != PAYMENT_IDENTIFIER):
        pair = {name: extensions[name]}
        size = _size(pair)
        if size > left or _is_doubled(extensions, (name,)) or not is_echoable(pair):
            continue
        kept |= pair
        left -= size
    return kept


def _resource_url(resource: Any) -> str | None:
    """What the seller says that it sells: v2's `resource`, v1's list of entries. For people, and believed by nobody."""
    if isinstance(resource, list):
        resource = resource[0].get("resource") if resource and isinstance(resource[0], dict) else None
    url = resource.get("url") if isinstance(resource, dict) else resource
    return url[:MAX_SHOWN_CHARS].encode("utf-8", "replace").decode() if isinstance(url, str) and url else None


def _text(value: Any) -> str:
    """The value as JSON; nothing, which no term can be read from, when it is nested deeper than it could be written."""
    try:
        return json.dumps(value)
    except RecursionError:
        return ""


def _size(value: Any) -> int:
    """Bytes of the value as JSON."""
    return len(_text(value)) or MAX_OFFER_BYTES


def _is_doubled(content: dict[str, Any], names: tuple[str, ...]) -> bool:
    return isinstance(content, DoubledKeys) and not content.twice.isdisjoint(names)


def _is_valid(kind: type[PaymentRequirements | ResourceInfo], value: Any) -> bool:
    """Whether a seller on the official SDK could read it back."""
    try:
        kind.model_validate(value)
    except ValidationError:
        return False
    return True
