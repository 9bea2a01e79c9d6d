"""`WebhookSender`: one signed POST, in the form of Standard Webhooks (standardwebhooks.com, version 1).

Over https only, but to loopback; to public addresses only, unless AUTOPAY_ALLOWED_PRIVATE_HOSTS names them: the same
rules as for sellers, checked at the address that the connection goes to. Redirects are not followed.
"""

import asyncio
import base64
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from standardwebhooks.webhooks import Webhook

from autopay import __version__
from autopay.adapters.x402.checked_connection import (
    CheckedTransport,
    NotAllowed,
    Resolver,
    require_askable,
    resolver,
)
from autopay.domain.policy.reach import Reach
from autopay.domain.webhooks.records import Attempt, Message

TIMEOUT_S = 15.0
GONE = 410
SECRET_BYTES = 32
SECRET_PURPOSE = "webhook-secret"  # noqa: S105 - what the vault binds it to
SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix

CONNECTIONS = 40
"""Two for each endpoint that there can be: a slow receiver takes none of the others'."""


def new_secret() -> str:
    """A secret as the form writes it: `whsec_` and the base64 of random bytes."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def webhook_reach(allowed_private: Sequence[str]) -> Reach:
    """Where webhooks may go; hosts that sellers may have without TLS are not among them."""
    return Reach.of((), allowed_private)


def require_sendable(url: str, reach: Reach) -> None:
    """See that events may be sent to that URL.

    Raises:
        NotAllowed: they may not.
    """
    require_askable(url, reach)


class WebhookSender:
    """Sends messages. Whatever the receiver does is an outcome, not an error."""

    def __init__(self, reach: Reach, *, resolve: Resolver | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._reach = reach
        self._timeout_s = timeout_s
        # Of its own: a name server that does not answer must not hold back other endpoints, nor sellers.
        self._threads = ThreadPoolExecutor(CONNECTIONS, "webhook-names")
        self._http = httpx.AsyncClient(
            transport=CheckedTransport(
                reach, resolve or resolver(self._threads), connections=CONNECTIONS, kept_alive=CONNECTIONS
            ),
            timeout=httpx.Timeout(timeout_s, connect=min(10, timeout_s)),
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def send(self, url: str, message: Message, signing_secrets: Sequence[str]) -> Attempt:
        """One attempt; signed by each of the secrets, as while one is replaced by another."""
        now = datetime.now(UTC)
        text = message.body.decode()
        signatures = [Webhook(each).sign(message.webhook_id, now, text) for each in signing_secrets]
        headers = {
            "content-type": "application/json",
            "user-agent": f"autopay/{__version__}",
            "webhook-id": message.webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }
        try:
            require_askable(url, self._reach)
            async with (
                asyncio.timeout(self._timeout_s),  # httpx's own bounds each read, not a drip of them
                self._http.stream("POST", url, content=message.body, headers=headers) as answer,
            ):
                return _outcome(answer)  # its body is nobody's business
        except NotAllowed as refused:
            return Attempt(error=f"not allowed: {refused}")
        except (httpx.TimeoutException, TimeoutError):
            return Attempt(error=f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Attempt(error=f"{type(error).__name__}: {error}"[:300])


def _outcome(answer: httpx.Response) -> Attempt:
    status = answer.status_code
    if 200 <= status < 300:
        return Attempt(http_status=status)
    return Attempt(
        http_status=status,
        error=f"HTTP {status}",
        retry_after_s=_retry_after_s(answer.headers.get("retry-after")),
        gone=status == GONE,
    )


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of the header, which has them or a date; None for anything else."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        return max((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
