"""Talks HTTP to sellers: no proxies, no cookies, no redirect of a question or a payment, everything bounded.

Status line and headers are bounded by httpcore (100 kB), the body and the time of a whole exchange here.

It neither retries nor decides what an answer means (`autopay.domain.payment.exchange`).
"""

import asyncio
import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Literal

import httpx

from autopay.adapters.x402.checked_connection import CheckedTransport, NotAllowed, Resolver, require_askable, resolve
from autopay.adapters.x402.content import Received
from autopay.adapters.x402.wire import read_challenge, read_receipt
from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import Reply, RequestExtras, UnpaidReply
from autopay.domain.policy.reach import Reach
from autopay.domain.refusal import Refused
from autopay.domain.request import Method
from autopay.domain.text.hosts import host_of

PAYMENT_HEADERS = {1: "X-PAYMENT", 2: "PAYMENT-SIGNATURE"}
MOST_REDIRECTS = 3
"""Of a paid answer to its content; a plain question follows none."""

MAX_LOCATION_CHARS = 2_048

MAX_BYTES_IN_LOOP = 20_000
"""A 402 that is larger is read beside the event loop, which other payments' heartbeats need."""

RESERVED = frozenset({"x-payment", "payment-signature", "host", "content-length", "transfer-encoding", "connection"})
"""Headers that a caller cannot set."""


class HttpSeller:
    """Implements the port `Seller` with httpx; one connection pool for all sellers.

    Args:
        reach: which sellers may be asked, for the plain request and for the paid one.
        body_limit_bytes: of an answer to a plain request; what is longer is kept as far as that.
        paid_body_limit_bytes: of an answer to a payment.
        timeout_s: for a paid request; a facilitator may take 30 s to confirm and be asked twice.
        ask_timeout_s: for a plain request.
        resolve: names to addresses.
    """

    def __init__(
        self,
        reach: Reach = Reach(),  # noqa: B008 (frozen)
        *,
        body_limit_bytes: int = 5_000_000,
        paid_body_limit_bytes: int = 50_000_000,
        timeout_s: float = 120,
        ask_timeout_s: float = 30,
        resolve: Resolver = resolve,
    ) -> None:
        self._reach = reach
        self._body_limit = body_limit_bytes
        self._paid_body_limit = paid_body_limit_bytes
        self._pay_timeout = httpx.Timeout(timeout_s, connect=10)
        self._http = httpx.AsyncClient(
            transport=CheckedTransport(reach, resolve, connections=200, kept_alive=50),
            trust_env=False,  # no proxy and no .netrc that nobody thought of
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # agents share the client
            follow_redirects=False,
            timeout=httpx.Timeout(ask_timeout_s, connect=10),
            headers={
                "User-Agent": "autopay",
                "Accept": "application/json, */*;q=0.5",
                "Accept-Encoding": "identity",  # a few compressed kilobytes can be gigabytes
            },
        )

    @property
    def ask_within_s(self) -> float:
        """Seconds that a plain request may take."""
        return self._http.timeout.read or 0

    @property
    def pay_within_s(self) -> float:
        """Seconds that a paid request may take."""
        return self._pay_timeout.read or 0

    async def close(self) -> None:
        """Close the connection pool."""
        await self._http.aclose()

    async def ask(self, url: str, method: Method, extras: RequestExtras) -> UnpaidReply | Refused:
        """The request without a payment; its 402 is read into a challenge or a refusal.

        Refused: `reach` does not allow the URL or the address behind it; nobody was asked.
        """
        try:
            received = await self._exchange(url, method, extras, {}, self._body_limit, self._http.timeout)
        except NotAllowed as error:
            return error.refused
        response, reply = await self._reply_of(received, url, keep_cut=False)
        if reply.http_status != 402:
            return UnpaidReply(reply=reply)
        size = len(reply.body) + len(response.headers.get("payment-required", ""))
        if size <= MAX_BYTES_IN_LOOP:
            return UnpaidReply(reply=reply, challenge=read_challenge(response.headers, reply.body))
        return UnpaidReply(reply=reply, challenge=await asyncio.to_thread(read_challenge, response.headers, reply.body))

    async def pay(self, url: str, method: Method, extras: RequestExtras, version: int, payment: bytes) -> Reply:
        """The identical request with the recorded payment header; where its answer redirects to is asked without it.

        An answer that is cut is no answer, as the same bytes bring it again.

        Raises:
            SellerUnavailable: no answer came that could be kept, or `reach` does not allow the address that the seller
                has now, which keeps the payment from leaving.
        """
        header = {PAYMENT_HEADERS[version]: payment.decode()}
        deadline = asyncio.get_running_loop().time() + (self._pay_timeout.read or 0)
        try:
            received = await self._exchange(url, method, extras, header, self._paid_body_limit, self._pay_timeout)
        except NotAllowed as error:
            raise SellerUnavailable(f"not asked: {error}") from None
        response, reply = await self._reply_of(received, url, keep_cut=False)
        if response.has_redirect_location:
            return await self._redirected(url, response, reply, deadline)
        return reply

    async def exchange(
        self,
        url: str,
        method: Literal["POST", "DELETE"],
        headers: dict[str, str],
        body: bytes | None,
        *,
        paid: bool,
        within_s: float,
    ) -> tuple[Mapping[str, str], Reply]:
        """One request as it is given, for what is not plain HTTP; the headers of its answer, and the answer.

        An answer that is not at its end within that time is kept as far as it came.

        Args:
            paid: whether the size of a paid answer is allowed.

        Raises:
            SellerUnavailable: no answer came that could be kept.
            NotAllowed: `reach` does not allow the URL or the address behind it; nobody was asked.
        """
        if within_s <= 0:
            raise SellerUnavailable(f"TimeoutError at {host_of(url)}")
        limit = self._paid_body_limit if paid else self._body_limit
        timeout = httpx.Timeout(within_s, connect=min(10, within_s))
        received = await self._exchange(url, method, RequestExtras(headers=headers, body=body), {}, limit, timeout)
        response, reply = await self._reply_of(received, url, keep_cut=False)
        return response.headers, reply

    async def _redirected(self, url: str, response: httpx.Response, paid: Reply, deadline: float) -> Reply:
        """The content that a paid answer redirects to: a GET without the payment and without the caller's headers.

        The answer itself, with the address, when nothing may be or could be fetched from there.
        """
        for _ in range(MOST_REDIRECTS):
            try:
                url = str(httpx.URL(url).join(response.headers["location"]))
            except (httpx.InvalidURL, ValueError):
                return paid.model_copy(update={"location": response.headers["location"][:MAX_LOCATION_CHARS]})
            kept = paid.model_copy(update={"location": url[:MAX_LOCATION_CHARS]})
            left_s = deadline - asyncio.get_running_loop().time()
            if left_s <= 0:
                return kept
            timeout = httpx.Timeout(left_s, connect=min(10, left_s))
            try:
                received = await self._exchange(url, "GET", RequestExtras(), {}, self._paid_body_limit, timeout)
                response, reply = await self._reply_of(received, url, keep_cut=True)
            except (NotAllowed, SellerUnavailable):
                return kept
            if response.is_success:
                return reply.model_copy(update={"receipt": paid.receipt})
            if not response.has_redirect_location:
                return kept
        return kept

    async def _exchange(
        self,
        url: str,
        method: Method | Literal["DELETE"],
        extras: RequestExtras,
        payment: dict[str, str],
        limit_bytes: int,
        timeout: httpx.Timeout,
    ) -> Received:
        """One request, and what came of its answer."""
        require_askable(url, self._reach)
        own = {name: value for name, value in extras.headers.items() if name.lower() not in RESERVED}
        if extras.body is not None and not any(name.lower() == "content-type" for name in own):
            own["Content-Type"] = "application/json"
        received = Received(limit_bytes)
        try:
            async with (
                asyncio.timeout(timeout.read),  # httpx's own bound each read, not a drip of them
                self._http.stream(
                    method, url, headers=_as_bytes({**own, **payment}), content=extras.body, timeout=timeout
                ) as response,
            ):
                await received.read(response)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError) as error:
            received.error = error
        return received

    async def _reply_of(self, received: Received, url: str, *, keep_cut: bool) -> tuple[httpx.Response, Reply]:
        """The answer, with what was read of its headers.

        Raises:
            SellerUnavailable: it has no end, and is not to be kept without.
        """
        error, response = received.error, received.response
        keeps = error is None or (received.has_content and (received.is_out_of_time or keep_cut))
        if response is None or not keeps:
            raise SellerUnavailable(f"{type(error).__name__} at {host_of(url)}")
        body = await received.body()
        reply = Reply(
            http_status=response.status_code,
            content_type=response.headers.get("content-type"),
            body=body.content,
            complete=body.complete and error is None,
            encoding=body.encoding,
            receipt=read_receipt(response.headers),
            retry_after_ms=_retry_after_ms(response.headers.get("retry-after")),
        )
        return response, reply


MAX_RETRY_AFTER_MS = 60_000


def _retry_after_ms(value: str | None) -> int | None:
    """Milliseconds of a Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3); at most a minute."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return min(int(value[:9]) * 1000, MAX_RETRY_AFTER_MS)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wait = (moment - datetime.now(UTC)).total_seconds()
    return int(min(max(wait, 0) * 1000, MAX_RETRY_AFTER_MS))


def _as_bytes(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as they are sent: UTF-8, which is ASCII for all that needs no more (RFC 9110, 5.5)."""
    return [(name.encode("ascii"), value.encode()) for name, value in headers.items()]
