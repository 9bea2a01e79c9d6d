"""What a caller gives to be bought, checked and in base units. Pure."""

import json
import math
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, get_args

from pydantic import ValidationError

from autopay.client.errors import InvalidCall
from autopay.client.values import Ask
from autopay.domain.money import parse_currency, to_atomic
from autopay.domain.request import AGENT_NAME_PATTERN, MAX_AGE_S, Method, RequestSpec, is_request_id
from autopay.domain.text.durations import parse_whole_seconds
from autopay.domain.text.headers import checked_headers
from autopay.domain.values import validation_message

Amount = Decimal | str | int
"""An amount in token units: `"0.01"`, `Decimal("0.01")`, `1`. A float is refused, as it is not exact."""

Age = timedelta | str | int
"""Seconds, a `timedelta`, or a text like `5m`."""


def make_ask(
    url: str,
    *,
    request_id: str | None = None,
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    content: bytes | str | None = None,
    json_content: Any = None,
    max_price: Amount | None = None,
    currency: str | None = None,
    max_age: Age | None = None,
    timeout_s: float = 120,
    most_price: Amount | None = None,
    prefix: str = "py",
) -> Ask:
    """What to buy; without an id of the caller's, a new one. `most_price` is the most that `max_price` can be.

    Raises:
        InvalidCall: a value means nothing; the message says which and what would be valid.
    """
    if content is not None and json_content is not None:
        raise InvalidCall("give content or json, not both")
    given = _valid("headers", checked_headers, dict(headers or {}))
    if json_content is not None:
        content = _valid("json", json.dumps, json_content)
        if not any(name.lower() == "content-type" for name in given):
            given["Content-Type"] = "application/json"
    body = _valid("content", str.encode, content) if isinstance(content, str) else content
    chosen = str(method or ("GET" if body is None else "POST")).upper()
    if chosen not in get_args(Method):
        raise InvalidCall(f"method {chosen!r:.100} is not one that can be paid for: GET or POST", "method_not_payable")
    if body is not None and chosen == "GET":
        raise InvalidCall("a GET has no body: leave the method out, or say POST")
    if not isinstance(body, bytes | None):
        raise InvalidCall(f"content is bytes or a text, not {type(body).__name__}")
    ask = Ask(
        id=_checked_id(request_id) if request_id is not None else f"{prefix}-{secrets.token_hex(8)}",
        url=url,
        method=chosen,
        headers=given,
        content=body,
        max_price_atomic=min((_atomic(each) for each in (max_price, most_price) if each is not None), default=None),
        currency=None if currency is None else _valid("currency", parse_currency, currency),
        max_age_s=None if max_age is None else _age_s(max_age),
        timeout_s=_timeout(timeout_s),
    )
    try:
        RequestSpec(request_id=ask.id, url=url, method=ask.method)
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InvalidCall(f"{wrong['loc'][0] if wrong['loc'] else 'url'}: {validation_message(wrong)}") from None
    return ask


def check_limits(max_price: Amount | None, currency: str | None, max_age: Age | None, timeout_s: float) -> None:
    """See that these can be limits of a request.

    Raises:
        InvalidCall: one means nothing; the message says which and what would be valid.
    """
    make_ask("https://limits.example", max_price=max_price, currency=currency, max_age=max_age, timeout_s=timeout_s)


def checked_agent(name: str) -> str:
    """The name, if an agent can have it.

    Raises:
        InvalidCall: none can.
    """
    if not isinstance(name, str) or not re.fullmatch(AGENT_NAME_PATTERN, name):
        raise InvalidCall(f"{name!r} cannot be an agent's name: letters, digits, '.', '_' and '-', at most 60")
    return name


def _checked_id(request_id: str) -> str:
    if not isinstance(request_id, str) or not is_request_id(request_id):
        raise InvalidCall(
            f"{request_id!r:.130} cannot be an id: letters, digits and . _ : @ -, a letter or digit first, at most 120"
        )
    return request_id


def _valid(what: str, parse: Callable[[Any], Any], text: object) -> Any:
    try:
        return parse(text)
    except (ValueError, TypeError) as error:
        raise InvalidCall(f"{what}: {error}") from None


def _atomic(amount: Amount) -> int:
    if isinstance(amount, float | bool):
        raise InvalidCall(f"max_price: {amount!r} is not exact: give a text or a Decimal, like '0.01'")
    found: int = _valid("max_price", to_atomic, amount if isinstance(amount, Decimal) else str(amount))
    if found == 0:
        raise InvalidCall("max_price: must be above 0")
    return found


def _age_s(age: Age) -> int:
    if isinstance(age, str):
        seconds: int = 0 if age.strip() == "0" else _valid("max_age", parse_whole_seconds, age)
    elif isinstance(age, timedelta):
        seconds = int(age.total_seconds())
    elif isinstance(age, int) and not isinstance(age, bool):
        seconds = age
    else:
        raise InvalidCall(f"max_age: {age!r:.100} is not an age: whole seconds, a timedelta, or a text like '5m'")
    if not 0 <= seconds <= MAX_AGE_S:
        raise InvalidCall(f"max_age: from 0 to {MAX_AGE_S // 86_400} days")
    return seconds


def _timeout(timeout_s: float) -> float:
    is_number = isinstance(timeout_s, int | float) and not isinstance(timeout_s, bool)
    if not is_number or not math.isfinite(timeout_s) or timeout_s < 0:
        raise InvalidCall(f"timeout: {timeout_s!r:.100} is not a number of seconds")
    return timeout_s
