"""What option values mean: durations, amounts, rates, watches, headers. Pure.

Every function raises `typer.BadParameter` with what would be valid.
"""

import json
import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError

from autopay.domain.agent.spec import MAX_WATCHES, Watch
from autopay.domain.money import Currency, to_atomic
from autopay.domain.phase import Phase
from autopay.domain.request import AGENT_NAME_PATTERN, REQUEST_ID_PATTERN, Method, check_url

MAX_URL_CHARS = 2048  # RequestSpec.url
MAX_SESSION_S = 366 * 86_400

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, token
_WATCH_NAME = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}"  # its request ids are the name and a time
_WATCH_KEYS = ("every", "max-price", "method", "currency", "weight", "name")


def duration_s(text: str) -> float:
    """Seconds of `90`, `30s`, `200ms`, `2m`, `1.5h` or `7d`."""
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration like 30s, 2m, 1h or 200ms")
    return float(match[1]) * _SECONDS[match[2] or "s"]


def whole_seconds(text: str) -> int:
    """A duration of at least one second, in whole ones."""
    seconds = duration_s(text)
    if seconds < 1 or seconds != int(seconds):
        raise typer.BadParameter(f"{text!r} is not a whole number of seconds, at least 1s")
    return int(seconds)


def session_s(text: str) -> int:
    """How long a session lasts: at most a year."""
    seconds = whole_seconds(text)
    if seconds > MAX_SESSION_S:
        raise typer.BadParameter(f"{text!r} is longer than a session may last: at most {MAX_SESSION_S // 86_400}d")
    return seconds


def amount_atomic(text: str) -> int:
    """Base units of an amount above zero in token units, like `0.01`."""
    try:
        amount = to_atomic(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if amount == 0:
        raise typer.BadParameter("the amount must be above 0")
    return amount


def currency_of(text: str) -> Currency:
    """USDC or CASH, in any case."""
    try:
        return Currency(text.upper())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a currency: {' or '.join(Currency)}") from None


def phase_of(text: str) -> Phase:
    """A phase, in any case."""
    try:
        return Phase(text.upper())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a phase: demo, interactive or full") from None


def agent_name(text: str) -> str:
    """An agent's name: letters, digits, dot, dash and underscore."""
    if not re.fullmatch(AGENT_NAME_PATTERN, text):
        raise typer.BadParameter(f"{text!r} is not an agent's name: up to 60 letters, digits, '.', '_' and '-'")
    return text


def request_id(text: str) -> str:
    """A request id: the caller's idempotency key."""
    if not re.fullmatch(REQUEST_ID_PATTERN, text):
        raise typer.BadParameter(f"{text!r} is not a request id: up to 120 letters, digits and '._:@-'")
    return text


def http_url(text: str) -> str:
    """A URL that can be asked: http or https, with a host."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise typer.BadParameter(f"{text!r} is not an http(s) URL, like https://api.example.com/data")
    if any(char.isspace() or not char.isprintable() for char in text):
        raise typer.BadParameter(f"{text!r} has spaces or control characters: encode them")
    try:
        check_url(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if len(text) > MAX_URL_CHARS:
        raise typer.BadParameter(f"the URL has {len(text)} characters, {MAX_URL_CHARS} are possible")
    return text


def method_of(text: str) -> Method:
    """GET or POST, in any case."""
    match text.upper():
        case "GET":
            return "GET"
        case "POST":
            return "POST"
        case _:
            raise typer.BadParameter(f"{text!r} is not a method: GET or POST")


def headers_of(lines: list[str]) -> dict[str, str]:
    """Headers given as `Name: value`; the payment's own headers are not the caller's to set."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _HEADER_NAME.fullmatch(name.strip()) or not value.isprintable():
            raise typer.BadParameter(f"{line!r} is not a header like 'Accept: application/json'")
        if name.strip().lower() in ("x-payment", "payment-signature"):
            raise typer.BadParameter(f"{name.strip()} carries the payment, which Autopay makes itself")
        headers[name.strip()] = value.strip()
    return headers


def json_body(text: str) -> bytes:
    """The bytes of a JSON text, or of the file after an `@`."""
    if text.startswith("@"):
        try:
            raw = Path(text[1:]).expanduser().read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"{text[1:]}: {error.strerror}") from None
    else:
        raw = text.encode()
    try:
        json.loads(raw)
    except ValueError as error:
        raise typer.BadParameter(f"the body is not JSON: {error}") from None
    return raw


def watch_of(text: str) -> Watch:
    """A watch given as `URL every=30s [max-price=0.01] [method=GET] [currency=USDC] [weight=2] [name=prices]`."""
    try:
        url, *words = shlex.split(text) or [""]
    except ValueError:
        raise typer.BadParameter(f"the watch {text!r} has a quote that does not end") from None
    fields: dict[str, Any] = {"url": http_url(url)}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in _WATCH_KEYS or not equals or not value:
            raise typer.BadParameter(f"{word!r} in a watch is not one of {', '.join(f'{k}=…' for k in _WATCH_KEYS)}")
        fields |= _watch_field(key, value)
    if "every_s" not in fields:
        raise typer.BadParameter(f"the watch of {url} has no every=…, like every=30s")
    fields.setdefault("name", _name_of(url))
    if not re.fullmatch(_WATCH_NAME, fields["name"]):
        raise typer.BadParameter(f"{fields['name']!r} is not a watch's name: up to 100 letters, digits and '._:@-'")
    try:
        return Watch(**fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise typer.BadParameter(f"the watch of {url}: {first['loc'][0]}: {first['msg']}") from None


def watches_of(texts: list[str]) -> tuple[Watch, ...]:
    """Several watches; two may not have the same name."""
    watches = tuple(watch_of(text) for text in texts)
    if len(watches) > MAX_WATCHES:
        raise typer.BadParameter(f"{len(watches)} watches are more than the {MAX_WATCHES} that an agent can have")
    names = [watch.name for watch in watches]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise typer.BadParameter(f"two watches are called {twice!r}: give one a name=…")
    return watches


def _watch_field(key: str, value: str) -> dict[str, Any]:
    match key:
        case "every":
            return {"every_s": whole_seconds(value)}
        case "max-price":
            return {"max_price_atomic": amount_atomic(value)}
        case "method":
            return {"method": method_of(value)}
        case "currency":
            return {"currency": currency_of(value)}
        case "weight":
            return {"weight": value}
        case _:
            return {"name": value}


def _name_of(url: str) -> str:
    """A watch's name from its path and query, fit for a request id: `api-market-feed`."""
    parts = urlsplit(url)
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{parts.path}-{parts.query}").strip("-")
    return (words or re.sub(r"[^A-Za-z0-9]+", "-", parts.netloc).strip("-"))[:80]
