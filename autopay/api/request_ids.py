"""The id of a request that is to be made: from its order, or from the header `Idempotency-Key`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Request

from autopay.client.errors import InvalidCall
from autopay.client.paid_http import IDEMPOTENCY_KEY, header_text, id_of_key

KEY_MISSING = "idempotency_key_missing"
"""The rule that refuses an order without an id: asked again after a lost answer, it would be paid for twice."""

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The id, where the order has none; of a key that cannot be an id, one is made, always the same.",
        examples=["monday-1"],
    ),
]


def id_in_header(request: Request, _: Key = None) -> str | None:
    """The id that the header names; None without one.

    Raises:
        InvalidCall: it is no key, or there are several.
    """
    keys = request.headers.getlist(IDEMPOTENCY_KEY)
    if len(keys) > 1:
        raise InvalidCall("Idempotency-Key: is given twice")
    return id_of_key(header_text(keys[0].encode("latin-1"))) if keys else None


def required_id(in_body: str | None, in_header: str | None) -> str:
    """The one id that order and header have.

    Raises:
        InvalidCall: neither has one, or they have two.
    """
    given = {each for each in (in_body, in_header) if each is not None}
    if not given:
        raise InvalidCall(
            "give the request an id, in the body or as the header Idempotency-Key: if the answer gets lost, the same"
            " id asked again never pays twice; without one it would",
            KEY_MISSING,
        )
    if len(given) > 1:
        raise InvalidCall("id and Idempotency-Key differ: give one of them")
    return given.pop()
