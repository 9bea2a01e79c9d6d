"""The scripts and styles of the page, which are built from `web/` and lie in `static/`."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import Response

STATIC = Path(__file__).parents[1] / "static"
TYPES = {
    "page.js": "text/javascript; charset=utf-8",
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "licences.txt": "text/plain; charset=utf-8",
}
FOREVER = "public, max-age=31536000, immutable"
"""An address names the file's content: it never changes."""


def missing_files() -> str | None:
    """What to do when the scripts and styles are not there; None when they are."""
    if all((STATIC / name).is_file() for name in TYPES):
        return None
    return "its scripts and styles are not built; run python web/build.py in the checkout"


@cache
def address_of(name: str) -> str:
    """The address of a file, with the beginning of its hash."""
    assert name in TYPES
    path = STATIC / name
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "missing"
    return f"/static/{name}?v={digest}"


async def static_file(name: str) -> Response:
    """A file by its name."""
    if name not in TYPES or not (STATIC / name).is_file():
        raise HTTPException(404)
    return Response((STATIC / name).read_bytes(), media_type=TYPES[name], headers={"Cache-Control": FOREVER})
