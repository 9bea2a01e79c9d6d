"""One call of `fetch` as the model gave it: its id, its limit, its body. Pure."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from autopay.client.errors import InvalidCall
from autopay.domain.money import to_atomic, to_units

MOST_WAIT_S = 600.0


@dataclass(frozen=True)
class Call:
    """What to buy, for `AsyncClient.fetch`."""

    url: str
    id: str
    method: str | None
    headers: dict[str, str]
    content: str | None
    max_price: Decimal | None


def make_call(
    url: str,
    *,
    request_id: str,
    method: str,
    headers: Mapping[str, str],
    body: str,
    max_price: str,
    most: Decimal | None,
) -> Call:
    """The call, with the lower one of the model's limit and the server's; empty texts mean "not given".

    Raises:
        InvalidCall: the limit is no amount.
    """
    given = dict(headers)
    if body and _is_json(body) and not any(name.lower() == "content-type" for name in given):
        given["Content-Type"] = "application/json"
    return Call(url, request_id, method or None, given, body or None, _limit(max_price, most))


def id_of_call(session: str | None, call_id: object, arguments: Sequence[Any]) -> str:
    """The id of a purchase whose caller gave none.

    In a session, a JSON-RPC request that comes again has the same id, so it is the same purchase. Without a session
    (each request by itself, over HTTP) two clients may number their requests alike: each call is a new purchase then.
    """
    if session is None:
        return f"mcp-{secrets.token_hex(12)}"
    text = json.dumps([session, str(call_id), arguments], sort_keys=True, default=str)
    return f"mcp-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def checked_wait(wait_s: float) -> float:
    """The seconds to wait.

    Raises:
        InvalidCall: negative, or too many.
    """
    if not 0 <= wait_s <= MOST_WAIT_S:  # NaN is neither
        raise InvalidCall(f"wait_s: from 0 to {MOST_WAIT_S:g}; to wait longer, call result again")
    return wait_s


def as_text(value: object) -> object:
    """A number that stands for an amount, as text; anything else as it is. JSON numbers keep their digits so."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else value
    return f"{Decimal(repr(value)):f}"


def as_body(value: object) -> object:
    """A body that came as JSON, as text; a text as it is."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _limit(given: str, most: Decimal | None) -> Decimal | None:
    if not given:
        return most
    try:
        limit = to_units(to_atomic(given))
    except ValueError as error:
        raise InvalidCall(f"max_price: {error}") from None
    return limit if most is None else min(limit, most)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
