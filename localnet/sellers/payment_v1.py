"""Selling under x402 v1, for which the SDK has schemas and a facilitator client but no server."""

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from x402.http import FacilitatorClient
from x402.http.constants import X_PAYMENT_HEADER, X_PAYMENT_RESPONSE_HEADER
from x402.http.utils import decode_payment_signature_header, encode_payment_response_header
from x402.mechanisms.svm.types import ExactSvmPayload
from x402.mechanisms.svm.utils import decode_transaction_from_payload
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequiredV1, PaymentRequirementsV1

from localnet.sellers.prices import ListPrice, requirements_v1
from localnet.weather.faults import WeatherState

logger = logging.getLogger(__name__)

GetContent = Callable[[], Any | Awaitable[Any]]


class PaymentMiddlewareV1:
    """One seller's v1 side. The order is v1's: verify, answer, settle, deliver; an error is never charged."""

    def __init__(self, facilitator: FacilitatorClient, fee_payer: str, pay_to: str, weather: WeatherState) -> None:
        self._facilitator = facilitator
        self._fee_payer = fee_payer
        self._pay_to = pay_to
        self._sky = weather

    async def sell(self, request: Request, price: ListPrice, description: str, get_content: GetContent) -> Response:
        """Answer 402 with the offer, or the JSON of `get_content()` with the receipt once it is settled."""
        accepts = requirements_v1(
            price.now(self._sky),
            pay_to=self._pay_to,
            fee_payer=self._fee_payer,
            resource=str(request.url),
            description=description,
        )
        header = request.headers.get(X_PAYMENT_HEADER)
        if header is None:
            return _payment_required(accepts, "X-PAYMENT header is required")
        try:
            payment = decode_payment_signature_header(header)
        except (ValueError, TypeError, AttributeError):  # the SDK lets through what JSON that is no object causes
            return _payment_required(accepts, "Invalid payment header format")
        if not isinstance(payment, PaymentPayloadV1):
            return _payment_required(accepts, "Invalid payment header format")
        requirements = _paid_one(accepts, payment)
        if requirements is None:
            return _payment_required(accepts, "No matching payment requirements found")
        return await self._charge(payment, requirements, accepts, get_content)

    async def _charge(
        self,
        payment: PaymentPayloadV1,
        requirements: PaymentRequirementsV1,
        accepts: list[PaymentRequirementsV1],
        get_content: GetContent,
    ) -> Response:
        try:
            verdict = await self._facilitator.verify(payment, requirements)
        except Exception as error:  # whatever befalls the facilitator, the buyer is told to pay
            logger.warning("verify: %r", error)
            return _payment_required(accepts, "Verify failed")
        if not verdict.is_valid:
            return _payment_required(accepts, f"Invalid payment: {verdict.invalid_reason}")
        content = get_content()
        if inspect.isawaitable(content):
            content = await content
        try:
            receipt = await self._facilitator.settle(payment, requirements)
        except Exception as error:
            logger.warning("settle: %r", error)
            return _payment_required(accepts, "Settle failed")
        if not receipt.success:
            return _payment_required(accepts, f"Settle failed: {receipt.error_reason}")
        headers = {X_PAYMENT_RESPONSE_HEADER: encode_payment_response_header(receipt)}
        return JSONResponse(content, headers=headers)


def _payment_required(accepts: list[PaymentRequirementsV1], error: str) -> Response:
    body = PaymentRequiredV1(error=error, accepts=accepts)
    return JSONResponse(body.model_dump(by_alias=True, exclude_none=True), 402)


def _paid_one(accepts: list[PaymentRequirementsV1], payment: PaymentPayloadV1) -> PaymentRequirementsV1 | None:
    """The entry that was chosen: a v1 payment does not say which, so its transaction's mint must."""
    try:
        transaction = decode_transaction_from_payload(ExactSvmPayload.from_dict(payment.payload))
    except (ValueError, TypeError):
        return None
    accounts = {str(key) for key in transaction.message.account_keys}
    for entry in accepts:
        if (entry.scheme, entry.network) == (payment.scheme, payment.network) and entry.asset in accounts:
            return entry
    return None
