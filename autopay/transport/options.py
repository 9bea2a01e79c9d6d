"""What a caller says about its payments: for a whole transport, or for one request of it. Pure."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from autopay.client.asking import Age, Amount, check_limits
from autopay.client.errors import InvalidCall
from autopay.client.paid_http import IDEMPOTENCY_KEY, OWN_HEADERS_PREFIX, id_of_key

HEADERS = {
    "autopay-id": "id",
    "autopay-max-price": "max_price",
    "autopay-currency": "currency",
    "autopay-max-age": "max_age",
    "autopay-timeout": "timeout",
}
"""Headers that say what `extensions` say, for programs that can give headers only. No seller gets them."""

NAMES = frozenset(HEADERS.values())

DEFAULT_WAIT_S = 120.0
"""How long an answer that costs money is waited for: a facilitator may take 30 s to confirm, and be asked twice."""

LONGEST_WAIT_S = 86_400.0
"""Of a request without any time limit."""


@dataclass(frozen=True)
class Limits:
    """The limits of a payment; `timeout` is in seconds, None takes the rule of `wait_s`."""

    max_price: Amount | None = None
    currency: str | None = None
    max_age: Age | None = None
    timeout: float | None = None

    def checked(self) -> "Limits":
        """These limits.

        Raises:
            InvalidCall: one of them means nothing.
        """
        check_limits(
            self.max_price, self.currency, self.max_age, DEFAULT_WAIT_S if self.timeout is None else self.timeout
        )
        return self

    def wait_s(self, read_timeout_s: float | None) -> float:
        """How long the answer is waited for.

        `timeout` when it is given. Otherwise 120 s, or as long as the request itself may wait for an answer when that
        is longer: a payment takes longer than a plain answer, for which the usual five seconds are meant.

        Args:
            read_timeout_s: of the request; infinite when it has no limit, None when it does not say.
        """
        if self.timeout is not None:
            return self.timeout
        return min(max(DEFAULT_WAIT_S, read_timeout_s or 0), LONGEST_WAIT_S)


@dataclass(frozen=True)
class Options:
    """What is said for one request; `id` is made of the caller's key, None without one."""

    id: str | None
    limits: Limits


def options_of(given: object, headers: Iterable[tuple[str, str]], defaults: Limits) -> Options:
    """What a request says by its `extensions["autopay"]`, then by its headers, then its transport.

    Args:
        given: `extensions["autopay"]`; None without.
        headers: of the request, whatever the case of their names.
        defaults: of the transport.

    Raises:
        InvalidCall: an unknown name, a header that stands twice, or a value that means nothing: nothing may be sent,
            as a limit could be meant.
    """
    said = _said_by_headers(headers)
    if given is not None:
        if not isinstance(given, Mapping) or not NAMES.issuperset(given):
            raise InvalidCall(
                f"extensions['autopay'] is a dict with any of {', '.join(sorted(NAMES))}: not {given!r:.200}"
            )
        said |= {name: value for name, value in given.items() if value is not None}
    key = said.pop("id", None)
    if "timeout" in said:
        said["timeout"] = _seconds(said["timeout"])
    limits = replace(defaults, **said).checked() if said else defaults
    if key is not None and not isinstance(key, str):
        raise InvalidCall(f"id: {key!r:.100} is not a text")
    return Options(None if key is None else id_of_key(key), limits)


def _said_by_headers(headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    said: dict[str, str] = {}
    for name, value in headers:
        lowered = name.lower()
        if lowered != IDEMPOTENCY_KEY and not lowered.startswith(OWN_HEADERS_PREFIX):
            continue
        if lowered != IDEMPOTENCY_KEY and lowered not in HEADERS:
            raise InvalidCall(f"there is no header {name!r:.100}; there are {', '.join(sorted(HEADERS))}")
        if said.setdefault(lowered, value.strip()) != value.strip():
            raise InvalidCall(f"header {name!r:.100} is given twice, with two values")
    key = said.pop(IDEMPOTENCY_KEY, None)
    found: dict[str, Any] = {} if key is None else {"id": key}
    return found | {HEADERS[name]: value for name, value in said.items()}


def _seconds(given: object) -> float:
    try:
        seconds = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(given, bool) or not math.isfinite(seconds) or seconds < 0:
        raise InvalidCall(f"timeout: {given!r:.100} is not a number of seconds")
    return seconds
