"""Pages of lists: how many rows, after which, and where the next page is."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from autopay.client.errors import InvalidCall
from autopay.domain.report.filter import Cursor, SpendCursor

MOST_ROWS = 500

Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Rows of the page.")]
After = Annotated[
    str | None,
    Query(
        max_length=200,
        description="Only what comes after this row: `next` of the page before.",
        examples=["2026-11-22T19:33:14.120000+00:00_0193fa2c6f0e7c1a9d3f2b1a0c4d5e6f"],
    ),
]


def checked_cursor(after: str | None) -> str | None:
    """The cursor, if it can be one.

    Raises:
        InvalidCall: it cannot.
    """
    if after is not None:
        try:
            Cursor.parse(after)
        except ValueError:
            raise InvalidCall("after: not a cursor; give `next` of the page before", "wrong_cursor") from None
    return after


def checked_spend_cursor(after: str | None) -> str | None:
    """The cursor of a list of sums, if it can be one.

    Raises:
        InvalidCall: it cannot.
    """
    if after is not None:
        try:
            SpendCursor.parse(after)
        except ValueError:
            raise InvalidCall("after: not a cursor; give `next` of the page before", "wrong_cursor") from None
    return after


def link_next(request: Request, response: Response, page: Any) -> None:
    """Name the next page in a header `Link` (RFC 8288), with the same filters."""
    if page.next is not None:
        following = request.url.include_query_params(after=page.next)
        target = f"{following.path}?{following.query}"  # relative: behind a proxy this server has another name
        response.headers["Link"] = f'<{target}>; rel="next"'
