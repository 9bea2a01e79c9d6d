"""What callers ask for, read from headers and JSON, each name in one place only. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import ConfigDict, Field, ValidationError
from starlette.datastructures import Headers

from autopay.adapters.x402.decoding import base64_bytes
from autopay.client.asking import checked_agent, make_ask
from autopay.client.errors import InvalidCall
from autopay.client.paid_http import IDEMPOTENCY_KEY, OWN_HEADERS_PREFIX, header_text, id_of_key
from autopay.client.values import Ask
from autopay.domain.text.durations import parse_duration
from autopay.domain.values import StrictValue, validation_message

PREFIX = "gw"
"""Of the ids of requests whose callers give none."""

MOST_TIMEOUT_S = 3_600

NOT_ALLOWED = "agent_not_allowed"
"""The rule that keeps callers from an agent that is none of theirs."""

_OF_HEADERS = {
    "autopay-agent": "agent",
    "autopay-id": "id",
    IDEMPOTENCY_KEY: "id",
    "autopay-max-price": "max_price",
    "autopay-currency": "currency",
    "autopay-max-age": "max_age",
    "autopay-timeout": "timeout",
}


class Terms(StrictValue):
    """By whom, how and how much: what a caller may say in headers or in JSON. None: the gateway's default."""

    agent: str | None = None
    id: str | None = None
    max_price: Decimal | str | None = None
    currency: str | None = None
    max_age: int | str | None = None
    timeout: float | str | None = None


class Order(Terms):
    """The JSON of `POST /fetch` and `/quote`. The body is one of: `body`, a text; `json`, any JSON; `content`, bytes in
    base64."""

    model_config = ConfigDict(validate_by_name=False, validate_by_alias=True)

    url: str
    method: str | None = None
    headers: dict[str, str] = {}
    body: str | None = None
    json_body: Any = Field(None, alias="json")
    content: str | None = None


class Defaults(NamedTuple):
    """What holds for callers who say nothing; `max_price` is also the most that any of them can allow.

    `agents` are those that callers may name; none: every agent.
    """

    agent: str
    max_price: Decimal | None = None
    timeout_s: float = 120
    agents: tuple[str, ...] = ()


class Wanted(NamedTuple):
    """What is to be bought, and for whom; `has_key`: the caller can ask again with the same id."""

    agent: str
    ask: Ask
    has_key: bool


def terms_of_headers(headers: Headers) -> Terms:
    """What the caller's headers say.

    Raises:
        InvalidCall: a header of ours that there is not, or one that stands twice: it must not be overlooked.
    """
    found: dict[str, str] = {}
    for header, value in headers.items():
        if header not in _OF_HEADERS and not header.startswith(OWN_HEADERS_PREFIX):
            continue
        name = _OF_HEADERS.get(header)
        if name is None:
            known = ", ".join(each.title() for each in _OF_HEADERS)
            raise InvalidCall(f"header {header[:60]!r} is none of the gateway's: {known}")
        if name in found:
            raise InvalidCall(f"header {header!r}: {name} is given twice")
        found[name] = id_of_key(header_text(value.encode("latin-1"))) if header == IDEMPOTENCY_KEY else value
    return Terms.model_validate(found)


def read_order(content: bytes) -> Order:
    """The JSON of a call.

    Raises:
        InvalidCall: it is none; the message names the field.
    """
    try:
        return Order.model_validate_json(content)
    except ValidationError as error:
        wrong = error.errors()[0]
        field = ".".join(str(each) for each in wrong["loc"])
        raise InvalidCall(f"{f'{field}: ' if field else ''}{validation_message(wrong)}") from None


def wanted_by_json(order: Order, in_headers: Terms, defaults: Defaults) -> Wanted:
    """What an order in JSON wants; headers may say what it leaves out.

    Raises:
        InvalidCall: a value means nothing, or stands in both.
    """
    said = {name: value for name in Terms.model_fields if (value := getattr(order, name)) is not None}
    both = [name for name in said if getattr(in_headers, name) is not None]
    if both:
        raise InvalidCall(f"{both[0]} is given in the headers and in the body: give it once")
    terms = in_headers.model_copy(update=said)
    bodies = [each for each in (order.body, order.json_body, order.content) if each is not None]
    if len(bodies) > 1:
        raise InvalidCall("give one of body, json and content")
    content: bytes | str | None = order.body
    if order.content is not None:
        try:
            content = base64_bytes(order.content)
        except ValueError:
            raise InvalidCall("content: is not base64") from None
    return wanted_of(
        order.url,
        terms,
        defaults,
        method=order.method,
        headers=order.headers,
        content=content,
        json_content=order.json_body,
    )


def wanted_of(
    url: str,
    terms: Terms,
    defaults: Defaults,
    *,
    method: str | None,
    headers: Mapping[str, str],
    content: bytes | str | None,
    json_content: Any = None,
) -> Wanted:
    """What is to be bought on these terms.

    Raises:
        InvalidCall: a value means nothing, or cannot be paid for.
    """
    ask = make_ask(
        url,
        request_id=terms.id,
        method=method,
        headers=headers,
        content=content,
        json_content=json_content,
        max_price=terms.max_price if terms.max_price is not None else defaults.max_price,
        most_price=defaults.max_price,
        currency=terms.currency,
        max_age=_age(terms.max_age),
        timeout_s=_timeout_s(terms.timeout, defaults),
        prefix=PREFIX,
    )
    return Wanted(agent_of(terms, defaults), ask, terms.id is not None)


def agent_of(terms: Terms, defaults: Defaults) -> str:
    """Who pays.

    Raises:
        InvalidCall: nobody can have that name, or it is none of those that callers may name.
    """
    name = checked_agent(terms.agent if terms.agent is not None else defaults.agent)
    if not may_name(name, defaults):
        known = ", ".join(defaults.agents)
        raise InvalidCall(f"agent {name!r} does not pay for callers of this gateway; these do: {known}", NOT_ALLOWED)
    return name


def may_name(agent: str, defaults: Defaults) -> bool:
    """Whether callers may have that agent pay, and be told of it."""
    return not defaults.agents or agent in defaults.agents


def _age(age: int | str | None) -> int | str | None:
    return int(age) if isinstance(age, str) and age.isascii() and age.isdigit() and len(age) < 12 else age


def _timeout_s(timeout: float | str | None, defaults: Defaults) -> float:
    if timeout is None:
        return defaults.timeout_s
    if isinstance(timeout, str):
        try:
            timeout = parse_duration(timeout)
        except ValueError as error:
            raise InvalidCall(f"timeout: {error}") from None
    if not 0 <= timeout <= MOST_TIMEOUT_S:
        raise InvalidCall(f"timeout: from 0 to {MOST_TIMEOUT_S} seconds")
    return timeout
