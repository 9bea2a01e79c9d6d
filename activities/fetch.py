"""Step 1: ask the seller plainly. 2xx is free, 402 an offer, anything else a failure with its class."""

from temporalio import activity

from autopay.domain.errors import OrderDiffers, SellerUnavailable
from autopay.domain.payment.exchange import RequestExtras, UnpaidReply
from autopay.domain.payment.offer import Challenge
from autopay.domain.payment.ports import RequestStore, Sealer, Seller
from autopay.domain.payment.steps import FetchFailed, FetchResult, FreeContent, PaymentOrder
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestSpec


def open_extras(vault: Sealer, request_key: str, spec: RequestSpec) -> RequestExtras:
    """Headers and body of a request, unsealed for the length of one exchange."""
    if spec.sealed_extras is None:
        return RequestExtras()
    return RequestExtras.model_validate_json(vault.open(spec.sealed_extras, purpose="request-extras", row=request_key))


async def require_same_request(requests: RequestStore, order: PaymentOrder) -> None:
    """A first run asks for what was recorded, which has neither headers nor a body.

    Raises:
        OrderDiffers: it does not.
    """
    if order.accepted is None:
        return
    recorded = (await requests.get(order.request_key)).spec
    if recorded.sealed_extras is not None or recorded.terms_hash() != order.accepted.terms_hash():
        raise OrderDiffers(order.request_key)


class FetchStep:
    """The plain request."""

    def __init__(self, requests: RequestStore, seller: Seller, vault: Sealer) -> None:
        self._requests = requests
        self._seller = seller
        self._vault = vault

    @activity.defn(name="fetch")
    async def fetch(self, order: PaymentOrder) -> FetchResult:
        """Ask, store what came, and say what it is. Raises SellerUnavailable when it is worth asking again.

        A first run's challenge is stored with the attempt that answers it. Its order is a message that anybody may
        send: the ledger compares it before anything is stored or paid, and headers and bodies are the ledger's only.
        """
        spec, extras = order.accepted, RequestExtras()
        if spec is None:
            spec = (await self._requests.get(order.request_key)).spec
            extras = open_extras(self._vault, order.request_key, spec)
        try:
            plain = await self._seller.ask(spec.url, spec.method, extras)
        except SellerUnavailable:
            await require_same_request(self._requests, order)  # a request may end with this
            raise
        if isinstance(plain, Refused):
            await require_same_request(self._requests, order)
            return plain
        if order.accepted is None or not isinstance(plain.challenge, Challenge):
            await require_same_request(self._requests, order)
            await self._requests.record_plain(order.request_key, plain.model_copy(update={"breaker": order.breaker}))
        return _meaning(plain)


def _meaning(plain: UnpaidReply) -> FreeContent | FetchFailed | Challenge | Refused:
    status = plain.reply.http_status
    if plain.challenge is not None:
        return plain.challenge
    if 200 <= status < 300:
        return FreeContent(http_status=status, complete=plain.reply.complete, encoding=plain.reply.encoding)
    if status == 429 or status >= 500:
        raise SellerUnavailable(f"HTTP {status}", retry_after_ms=plain.reply.retry_after_ms)
    if 300 <= status < 400:
        return FetchFailed(
            type="seller_redirects", message="the seller redirects; ask the new address", http_status=status
        )
    return FetchFailed(type="seller_rejected", message=f"the seller answers HTTP {status}", http_status=status)
