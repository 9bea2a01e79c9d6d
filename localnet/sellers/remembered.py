"""Answers remembered by payment identifier: who asks again with the same payment gets the same answer.

The x402 extension `payment-identifier` (specs/extensions/payment_identifier.md) declares the id; remembering is the
seller's part, and the SDK leaves it to the seller. What must not live here: verifying or settling a payment.
"""

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from fastapi import Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from x402.extensions.payment_identifier import extract_payment_identifier
from x402.http.constants import PAYMENT_RESPONSE_HEADER, PAYMENT_SIGNATURE_HEADER
from x402.http.utils import decode_payment_response_header, decode_payment_signature_header
from x402.schemas import PaymentPayload

MOST_REMEMBERED = 10_000


@dataclass
class _Entry:
    """What is known about one identifier; `fingerprint` is set once a payment under it was broadcast."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    fingerprint: str | None = None
    answer: Response | None = None


class RememberedAnswers:
    """HTTP middleware in front of the payment middleware.

    A request with a known identifier gets the remembered answer with its original receipt, or 409 when anything
    in it differs; a second request that arrives while the first is being answered waits for it. An attempt whose
    payment was never broadcast leaves its identifier free.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def __call__(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        payment = _payment_of(request)
        identifier = extract_payment_identifier(payment) if payment else None
        if payment is None or identifier is None:
            return await call_next(request)
        fingerprint = await _fingerprint(request, payment)
        entry = self._entry(identifier)
        async with entry.lock:
            if entry.fingerprint not in (None, fingerprint):
                return JSONResponse({"error": "payment identifier already used with another payload"}, 409)
            if entry.answer is not None:
                return entry.answer
            response = await _whole(await call_next(request))
            _remember(entry, fingerprint, response)
            return response

    def _entry(self, identifier: str) -> _Entry:
        entry = self._entries.setdefault(identifier, _Entry())
        if len(self._entries) > MOST_REMEMBERED:
            self._entries.popitem(last=False)
        return entry


def _payment_of(request: Request) -> PaymentPayload | None:
    header = request.headers.get(PAYMENT_SIGNATURE_HEADER)
    if header is None:
        return None
    try:
        payment = decode_payment_signature_header(header)
    except (ValueError, TypeError, AttributeError):  # the SDK lets through what JSON that is no object causes
        return None  # the payment middleware refuses it
    return payment if isinstance(payment, PaymentPayload) else None


async def _fingerprint(request: Request, payment: PaymentPayload) -> str:
    """Everything that makes a request the same: the signed payment, method, path, query and body."""
    digest = hashlib.sha256()
    paid = json.dumps(payment.model_dump(by_alias=True), sort_keys=True)
    for part in (request.method, request.url.path, request.url.query, paid):
        digest.update(hashlib.sha256(part.encode()).digest())
    digest.update(hashlib.sha256(await request.body()).digest())
    return digest.hexdigest()


async def _whole(response: Response) -> Response:
    chunks = [chunk async for chunk in cast(StreamingResponse, response).body_iterator]
    body = b"".join(chunk.encode() if isinstance(chunk, str) else bytes(chunk) for chunk in chunks)
    return Response(body, response.status_code, dict(response.headers))


def _remember(entry: _Entry, fingerprint: str, response: Response) -> None:
    header = response.headers.get(PAYMENT_RESPONSE_HEADER)
    if header is None:
        return
    receipt = decode_payment_response_header(header)
    if receipt.transaction:
        entry.fingerprint = fingerprint
    if receipt.success and response.status_code < 300:
        entry.answer = response
