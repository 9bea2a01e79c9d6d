"""Why a call is not let in, as a problem."""

from collections.abc import Mapping
from typing import NamedTuple

from autopay.client.problems import TYPE_PREFIX, Problem

_TITLES = {
    400: "The request cannot be understood",
    401: "A token is needed",
    403: "This is not allowed",
    408: "The request took too long",
    413: "This is too large",
    415: "Another content type is needed",
    421: "This server has another name",
    429: "Too many requests",
    503: "Too much at once",
}


class Denial(NamedTuple):
    """A problem, and headers that go with it."""

    problem: Problem
    headers: Mapping[str, str] = {}


class Denied(Exception):
    """The caller may not do this."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(denial.problem.detail)
        self.denial = denial


def denial(status: int, rule: str, detail: str, *, retry_after_s: int | None = None) -> Denial:
    """A problem of who asks, or how; `rule` is its stable name."""
    return Denial(
        Problem(
            type=f"{TYPE_PREFIX}{rule.replace('_', '-')}",
            title=_TITLES[status],
            status=status,
            detail=detail,
            rule=rule,
            retry_after_s=retry_after_s,
        )
    )
