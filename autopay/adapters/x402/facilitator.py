"""Asks facilitators for their fee payers and their opinion of a payment. Optional: set AUTOPAY_FACILITATOR_URLS.

With the official SDK's client. It never settles: only sellers do, and what a facilitator says is a claim that the
chain confirms.
"""

import asyncio
import time
from collections.abc import Sequence

import httpx
from x402.http.facilitator_client import HTTPFacilitatorClient
from x402.http.facilitator_client_base import FacilitatorConfig, FacilitatorResponseError
from x402.http.utils import decode_payment_signature_header
from x402.schemas import PaymentPayload

from autopay.domain.errors import FacilitatorUnavailable
from autopay.domain.payment.ports import FeePayers
from autopay.domain.text.hosts import host_of

KEEP_S, KEEP_SILENCE_S = 60, 5
"""How long what a facilitator said is believed, and how long one that did not answer is left alone."""

SUPPORTED_S, VERIFY_S = 5, 20
"""Time-outs; one facilitator that hangs holds up the payments through the others for the first."""

_FAULTS = (httpx.HTTPError, FacilitatorResponseError, ValueError, TimeoutError)


class HttpFacilitators:
    """Implements the port `Facilitator`.

    Args:
        urls: the facilitators that may settle; one that is away does not stop payments through another.
        verifies: ask to verify each payment before the first hand-over; costs an exchange. v2 only, as a v1 payment
            does not carry the requirements that it answers.
    """

    def __init__(self, urls: Sequence[str], *, verifies: bool = False) -> None:
        self._all = [_HttpFacilitator(url) for url in urls]
        self._verifies = verifies

    async def close(self) -> None:
        """Close the connection pools."""
        await asyncio.gather(*(each.client.aclose() for each in self._all))

    async def fee_payers(self) -> FeePayers:
        """The addresses that they sign as, from /supported; of one that is away those that it named before."""
        await asyncio.gather(*(each.refresh() for each in self._all))
        addresses = frozenset[str]().union(*(each.fee_payers for each in self._all))
        return FeePayers(addresses, tuple(each.host for each in self._all if not each.answers))

    async def objection(self, payment: bytes) -> str | None:
        """Why the facilitator of its fee payer would not settle this payment; None when it would, or is not asked.

        Raises:
            FacilitatorUnavailable: that facilitator does not answer, or it is not known which one it is.
        """
        if not self._verifies:
            return None
        payload = decode_payment_signature_header(payment.decode())
        if not isinstance(payload, PaymentPayload):
            return None
        found = await self.fee_payers()
        fee_payer = payload.accepted.extra.get("feePayer")
        of_payment = [each for each in self._all if fee_payer in each.fee_payers]
        if not of_payment and not found.unanswered:
            return f"no facilitator signs as {fee_payer}"[:200]
        silent = list(found.unanswered)
        for each in of_payment:
            try:
                verdict = await each.client.verify(payload, payload.accepted)
            except _FAULTS as error:
                silent.append(f"{each.host}: {type(error).__name__}")
                continue
            return None if verdict.is_valid else (verdict.invalid_reason or "invalid")
        raise FacilitatorUnavailable(f"/verify of {', '.join(dict.fromkeys(silent))}")


class _HttpFacilitator:
    """One facilitator, and what it said last."""

    def __init__(self, url: str) -> None:
        self.client = HTTPFacilitatorClient(FacilitatorConfig(url=url, timeout=VERIFY_S))
        self.host = host_of(url)
        self.fee_payers: frozenset[str] = frozenset()
        self.answers = False
        self._believed_until = 0.0
        self._asking = asyncio.Lock()

    async def refresh(self) -> None:
        """Ask for its fee payers, when the last answer is old."""
        async with self._asking:  # payments that begin together ask once
            if time.monotonic() < self._believed_until:
                return
            try:
                supported = await asyncio.wait_for(asyncio.to_thread(self.client.get_supported), SUPPORTED_S)
            except _FAULTS:
                self.answers = False
                self._believed_until = time.monotonic() + KEEP_SILENCE_S
                return
            extras = (kind.extra or {} for kind in supported.kinds)
            listed = {extra["feePayer"] for extra in extras if isinstance(extra.get("feePayer"), str)}
            signers = {address for addresses in supported.signers.values() for address in addresses}
            self.fee_payers, self.answers = frozenset(listed | signers), True
            self._believed_until = time.monotonic() + KEEP_S
