"""Answers that need not be sent again: an ETag, and 304 for who has it already (RFC 9110, 13.1.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response


def etag_of(body: bytes) -> str:
    """The strong tag of these bytes."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def answered(request: Request, body: bytes, headers: Mapping[str, str], media_type: str) -> Response:
    """The body, or 304 when the caller has it."""
    tag = headers.get("ETag")
    if tag is not None and _has(request.headers.get("if-none-match", ""), tag):
        return Response(status_code=304, headers=dict(headers))
    return Response(body, 200, dict(headers), media_type)


def _has(given: str, tag: str) -> bool:
    tags = [each.strip().removeprefix("W/") for each in given.split(",")]
    return "*" in tags or tag in tags
