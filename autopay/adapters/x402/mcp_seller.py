"""Tools of MCP servers as sellers: `https://host/mcp#mcp-tool=search`, the body of the request is the tool's arguments.

What is bought is known by server and tool (both in the URL) and the digest of the arguments, as with any request. Host,
origin and payee are those of the server, for every rule.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from autopay import __version__
from autopay.adapters.x402.checked_connection import NotAllowed
from autopay.adapters.x402.decoding import DoubledKeys, is_echoable, read_json
from autopay.adapters.x402.mcp_calls import CALL_ID, HELLO_ID, answer_of, call, hello, ready, reply_of, version_of
from autopay.adapters.x402.seller import MAX_BYTES_IN_LOOP, HttpSeller
from autopay.adapters.x402.wire import read_challenge
from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import Reply, RequestExtras, UnpaidReply
from autopay.domain.refusal import Refused
from autopay.domain.request import Method
from autopay.domain.text.hosts import server_of, tool_of

_OWN = frozenset({"accept", "content-type", "mcp-session-id", "mcp-protocol-version"})
"""Headers that the protocol sets; a caller's of these names are left out."""

_END_WITHIN_S = 5

_NO_ARGUMENTS = Reply(http_status=400, content_type="text/plain", body=b"the arguments of a tool are a JSON object")


class McpSeller:
    """Implements the port `Seller` for URLs with a tool. Each call is a session of its own, over the HTTP seller.

    | crash at, in `pay` | leaves |
    |---|---|
    | before the call | a counted send that did not happen: nothing with the payment has left |
    | during it, or before its answer is stored | bytes that may have arrived: the same payment goes again |
    """

    def __init__(self, http: HttpSeller) -> None:
        self._http = http
        self._ending: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Stop ending sessions, which end by themselves. The HTTP seller is closed by whoever made it."""
        for ending in self._ending:
            ending.cancel()
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def ask(self, url: str, method: Method, extras: RequestExtras) -> UnpaidReply | Refused:  # noqa: ARG002
        """The call without a payment; an error that is an offer is read into a challenge or a refusal."""
        try:
            reply = await self._called(url, extras, None)
        except NotAllowed as error:
            return error.refused
        if reply.http_status != 402:
            return UnpaidReply(reply=reply)
        if len(reply.body) <= MAX_BYTES_IN_LOOP:
            return UnpaidReply(reply=reply, challenge=read_challenge({}, reply.body))
        return UnpaidReply(reply=reply, challenge=await asyncio.to_thread(read_challenge, {}, reply.body))

    async def pay(self, url: str, method: Method, extras: RequestExtras, version: int, payment: bytes) -> Reply:  # noqa: ARG002
        """The identical call with the recorded payment.

        Raises:
            SellerUnavailable: no answer came that could be kept, or `reach` does not allow the server's address.
        """
        try:
            return await self._called(url, extras, payment)
        except NotAllowed as error:
            raise SellerUnavailable(f"not asked: {error}") from None

    async def _called(self, url: str, extras: RequestExtras, payment: bytes | None) -> Reply:
        """A session with one call in it, and what the call's answer means."""
        tool, paid = tool_of(url), payment is not None
        assert tool is not None, "other URLs are for the HTTP seller"
        arguments = _arguments(extras.body)
        if arguments is None:
            return _NO_ARGUMENTS
        own = {name: value for name, value in extras.headers.items() if name.lower() not in _OWN}
        session = _Session(
            self._http, server_of(url), own, self._http.pay_within_s if paid else self._http.ask_within_s
        )
        said, reply = await session.post(hello(__version__))
        greeting = answer_of(reply, HELLO_ID)
        if greeting is None:
            return _not_mcp(reply)
        session.began(greeting, said.get("mcp-session-id"))
        try:
            await session.post(ready())
            _, reply = await session.post(call(tool, arguments, payment), paid=paid)
        finally:
            if session.id is not None:
                self._end(session)
        if len(reply.body) <= MAX_BYTES_IN_LOOP:
            return _meant(reply)
        return await asyncio.to_thread(_meant, reply)

    def _end(self, session: "_Session") -> None:
        """Tell the server that the session has ended, beside what goes on: it ends by itself otherwise."""
        ending = asyncio.create_task(session.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


class _Session:
    """One session with a server, all of it within that time."""

    def __init__(self, http: HttpSeller, server: str, headers: dict[str, str], within_s: float) -> None:
        self.id: str | None = None
        self._http = http
        self._server = server
        self._headers = headers | {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        self._deadline = asyncio.get_running_loop().time() + within_s

    async def post(self, message: bytes, *, paid: bool = False) -> tuple[Mapping[str, str], Reply]:
        """Send a message; see `HttpSeller.exchange`."""
        left_s = self._deadline - asyncio.get_running_loop().time()
        return await self._http.exchange(self._server, "POST", self._headers, message, paid=paid, within_s=left_s)

    def began(self, greeting: Mapping[str, Any], session_id: str | None) -> None:
        """What the server said about the session: its id, if it has one, and the version that it speaks."""
        self.id = session_id
        self._headers["MCP-Protocol-Version"] = version_of(greeting)
        if session_id is not None:
            self._headers["Mcp-Session-Id"] = session_id

    async def end(self) -> None:
        """Tell the server that it is over."""
        with contextlib.suppress(SellerUnavailable, NotAllowed):
            await self._http.exchange(self._server, "DELETE", self._headers, None, paid=False, within_s=_END_WITHIN_S)


class AnySeller:
    """Implements the port `Seller` for every URL: tools of MCP servers, and all others by plain HTTP."""

    def __init__(self, http: HttpSeller) -> None:
        self._http = http
        self._mcp = McpSeller(http)

    async def ask(self, url: str, method: Method, extras: RequestExtras) -> UnpaidReply | Refused:
        """See the port."""
        seller = self._http if tool_of(url) is None else self._mcp
        return await seller.ask(url, method, extras)

    async def pay(self, url: str, method: Method, extras: RequestExtras, version: int, payment: bytes) -> Reply:
        """See the port."""
        seller = self._http if tool_of(url) is None else self._mcp
        return await seller.pay(url, method, extras, version, payment)

    async def close(self) -> None:
        """Close every connection."""
        await self._mcp.close()
        await self._http.close()


def _arguments(body: bytes | None) -> dict[str, Any] | None:
    """The tool's arguments; None when the body is no JSON object that can be sent as it was given."""
    if not body:
        return {}
    try:
        found = read_json(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) and not isinstance(found, DoubledKeys) and is_echoable(found) else None


def _meant(reply: Reply) -> Reply:
    answer = answer_of(reply, CALL_ID)
    if answer is not None:
        return reply_of(answer, reply)
    if 200 <= reply.http_status < 300 and reply.body and (not reply.complete or reply.encoding is not None):
        return reply.model_copy(update={"receipt": None})  # cut, or still encoded: it is kept as it came
    return _not_mcp(reply, passing=(402, 404))  # a session can have ended under way: 404, and no word about the tool


def _not_mcp(reply: Reply, passing: Collection[int] = (402,)) -> Reply:
    """An answer of HTTP, and none of the tool: never content, and its 402 is none of x402's for tools.

    Statuses that are `passing` say nothing that holds for good.
    """
    status = 502 if reply.http_status < 400 or reply.http_status in passing else reply.http_status
    return reply.model_copy(update={"http_status": status, "receipt": None})
