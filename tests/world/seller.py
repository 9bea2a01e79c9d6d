"""Implements the port `Seller` in memory: shops by host; each call is answered honestly, or as chance has it.

The raw log is in the trace: `handed` for every payment that arrives, `answered` for what went back.
"""

import asyncio
import json
from collections.abc import Sequence
from contextvars import copy_context
from urllib.parse import urlsplit

from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import Reply, RequestExtras, UnpaidReply
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import Method
from tests.world.behaviours import BEHAVIOURS, Payment, Till
from tests.world.chain import SimChain
from tests.world.faults import PROCESS
from tests.world.shop import Shop
from tests.world.vault import message_hash_of

LATENCY_MS = 200
PAY_TIMEOUT_S = 120


class SimSeller:
    """All shops of the world."""

    def __init__(self, shops: Sequence[Shop], chain: SimChain, latency_ms: int = LATENCY_MS) -> None:
        self.tills = {shop.host: Till(shop, chain) for shop in shops}
        self._faults = chain.faults
        self._latency_ms = latency_ms
        self._serving: set[asyncio.Task[Reply]] = set()

    def till(self, url: str) -> Till:
        """The till behind a URL.

        Raises:
            SellerUnavailable: nobody is there.
        """
        host = urlsplit(url).netloc
        if host not in self.tills:
            raise SellerUnavailable(f"no such host {host}")
        return self.tills[host]

    async def ask(self, url: str, method: Method, extras: RequestExtras) -> UnpaidReply:
        """A 402, mostly."""
        await self._faults.enter("seller.ask", self._latency_ms)
        shop = self.till(url).shop
        if self._faults.strikes("ask.lost"):
            raise SellerUnavailable("reset")
        if self._faults.strikes("ask.new_price"):
            shop.reprice(self._faults.rng)
        plain = self._plain(shop)
        self._faults.trace.add("asked", url=url, status=plain.reply.http_status, price=shop.price_atomic)
        self._faults.leave("seller.ask")
        return plain

    def _plain(self, shop: Shop) -> UnpaidReply:
        if self._faults.strikes("ask.overloaded"):
            return UnpaidReply(reply=Reply(http_status=503, retry_after_ms=1_000))
        if self._faults.strikes("ask.not_found"):
            return UnpaidReply(reply=Reply(http_status=404))
        if self._faults.strikes("ask.free"):
            return UnpaidReply(reply=Reply(http_status=200, content_type="text/plain", body=b"free"))
        if self._faults.strikes("ask.malformed"):
            refused = Refused(reason=RefusalReason.OFFER_MALFORMED, message="simulated")
            return UnpaidReply(reply=Reply(http_status=402), challenge=refused)
        return UnpaidReply(reply=Reply(http_status=402), challenge=shop.challenge())

    async def pay(self, url: str, method: Method, extras: RequestExtras, version: int, payment: bytes) -> Reply:
        """From here on the bytes have left: what the seller does with them goes on without the caller."""
        await self._faults.enter("seller.pay", self._latency_ms)
        till, decoded = self.till(url), json.loads(payment)
        handed = self._faults.trace.add(
            "handed",
            url=url,
            message_hash=message_hash_of(decoded["message"]),
            signature=decoded["signature"],
            identifier=decoded["identifier"],
        )
        context = copy_context()
        context.run(PROCESS.set, None)
        serving = asyncio.create_task(self._serve(till, decoded), context=context)
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)
        try:
            reply = await asyncio.wait_for(asyncio.shield(serving), PAY_TIMEOUT_S)
        except TimeoutError:
            raise SellerUnavailable("ReadTimeout") from None
        process = PROCESS.get()
        if process is not None:
            process.check()
        claim = reply.receipt.transaction if reply.receipt else None
        self._faults.trace.add("answered", handed=handed.seq, status=reply.http_status, claim=claim)
        self._faults.leave("seller.pay")
        return reply

    async def _serve(self, till: Till, payment: Payment) -> Reply:
        kind = self._pick()
        if kind is None:
            return await till.honest(payment)
        return await BEHAVIOURS[kind](till, payment)

    def _pick(self) -> str | None:
        if self._faults.quiet:
            return None
        chance = self._faults.rng.random()
        for kind in BEHAVIOURS:
            chance -= self._faults.rates.get(f"seller.{kind}", 0.0)
            if chance < 0:
                self._faults.note(f"seller.{kind}")
                return kind
        return None
