"""Asks a facilitator for its fee payers and its opinion of a payment. Optional: set AUTOPAY_FACILITATOR_URL.

With the official SDK's client. It never settles: only sellers do, and what a facilitator says is a claim that the
chain confirms.
"""

import asyncio
import time

import httpx
from x402.http.facilitator_client import HTTPFacilitatorClient
from x402.http.facilitator_client_base import FacilitatorConfig, FacilitatorResponseError
from x402.http.utils import decode_payment_signature_header
from x402.schemas import PaymentPayload

from autopay.domain.errors import FacilitatorUnavailable

KEEP_S = 60


class HttpFacilitator:
    """Implements the port `Facilitator`.

    Args:
        verifies: ask it to verify each payment before the first hand-over; costs an exchange. v2 only, as a v1
            payment does not carry the requirements that it answers.
    """

    def __init__(self, url: str, *, verifies: bool = False) -> None:
        self._client = HTTPFacilitatorClient(FacilitatorConfig(url=url))
        self._verifies = verifies
        self._known: frozenset[str] = frozenset()
        self._known_until = 0.0

    async def close(self) -> None:
        """Close the connection pool."""
        await self._client.aclose()

    async def fee_payers(self) -> frozenset[str]:
        """The addresses that it signs as, from /supported; asked again after a minute."""
        if time.monotonic() < self._known_until:
            return self._known
        try:
            supported = await asyncio.to_thread(self._client.get_supported)
        except (httpx.HTTPError, FacilitatorResponseError, ValueError) as error:
            raise FacilitatorUnavailable(f"/supported: {type(error).__name__}") from None
        extras = (kind.extra or {} for kind in supported.kinds)
        listed = {extra["feePayer"] for extra in extras if isinstance(extra.get("feePayer"), str)}
        signers = {address for addresses in supported.signers.values() for address in addresses}
        self._known, self._known_until = frozenset(listed | signers), time.monotonic() + KEEP_S
        return self._known

    async def objection(self, payment: bytes) -> str | None:
        """Why it would not settle this payment; None when it would, or is not asked."""
        if not self._verifies:
            return None
        payload = decode_payment_signature_header(payment.decode())
        if not isinstance(payload, PaymentPayload):
            return None
        try:
            verdict = await self._client.verify(payload, payload.accepted)
        except (httpx.HTTPError, FacilitatorResponseError, ValueError) as error:
            raise FacilitatorUnavailable(f"/verify: {type(error).__name__}") from None
        return None if verdict.is_valid else (verdict.invalid_reason or "invalid")
