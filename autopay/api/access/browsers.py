"""What stops other web pages from acting through somebody's browser. Pure.

| an action comes | has to show |
|---|---|
| with a token in `Authorization` | nothing more: no other page can make a browser send that |
| from a browser, with a cookie or on loopback | its own site as `Origin`, and the CSRF token that the page has |
| from a program on loopback, without a token | a JSON body: no page can send that to another site unasked |

Reads need nothing of this, as no page can read another site's answers; what is asked from another site is refused all
the same, unless a person follows a link to a page.
"""

import hashlib
import hmac

from autopay.api.access.denials import Denied, denial
from autopay.api.access.request_head import RequestHead
from autopay.api.access.sites import Site

CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf_token"
_JSON = "application/json"


def csrf_token(secret: bytes) -> str:
    """The token that the page shows with each action; the secret is the login's, or the server's on loopback."""
    return hmac.digest(secret, b"autopay/csrf", hashlib.sha256).hex()


def refuse_other_sites(head: RequestHead, site: Site) -> None:
    """Let through what the server's own page, a program or a person's navigation asks for.

    Raises:
        Denied: another site's page asks.
    """
    origin, fetched_from = head.header("origin"), head.header("sec-fetch-site")
    if origin is not None and not site.is_origin(origin):
        raise Denied(denial(403, "cross_origin", "pages of other sites may not use this server"))
    if fetched_from is None or fetched_from == "same-origin":
        return
    navigates = head.header("sec-fetch-mode") == "navigate" and head.header("sec-fetch-dest") in (None, "document")
    if head.is_action or not (navigates or fetched_from == "none"):
        raise Denied(denial(403, "cross_origin", "pages of other sites may not use this server"))


def refuse_forged_action(head: RequestHead, expected: str, shown: str | None) -> None:
    """Let an action from a browser through that shows the page's own CSRF token.

    Raises:
        Denied: it does not say where it comes from, or has no token or another one.
    """
    require_origin(head)
    if not expected or shown is None or not hmac.compare_digest(shown.encode(), expected.encode()):
        what = "missing" if not shown else "another one"
        raise Denied(denial(403, "csrf_token", f"the page's CSRF token is {what}: load the page again, and repeat it"))


def require_origin(head: RequestHead) -> None:
    """Let an action from a browser through that says where it comes from; `refuse_other_sites` has compared it.

    Raises:
        Denied: it does not say it.
    """
    if head.header("origin") is None:
        raise Denied(denial(403, "origin_missing", "a browser has to say where this comes from (header Origin)"))


def refuse_simple_action(head: RequestHead) -> None:
    """Let an action of a program through that no page could have sent to another site unasked.

    Raises:
        Denied: its content type is not JSON.
    """
    if head.media_type != _JSON:
        raise Denied(denial(415, "json_needed", f"send Content-Type: {_JSON}, also without a body"))
