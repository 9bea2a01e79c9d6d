"""Step 1: ask the seller plainly. 2xx is free, 402 an offer, anything else a failure with its class."""

from temporalio import activity

from autopay.domain.errors import SellerUnavailable
from autopay.domain.payment.exchange import RequestExtras, UnpaidReply
from autopay.domain.payment.offer import Challenge
from autopay.domain.payment.ports import RequestStore, Sealer, Seller
from autopay.domain.payment.steps import FetchFailed, FetchResult, FreeContent, PaymentOrder
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestRecord


def open_extras(vault: Sealer, record: RequestRecord) -> RequestExtras:
    """Headers and body of a request, unsealed for the length of one exchange."""
    if record.spec.sealed_extras is None:
        return RequestExtras()
    sealed = record.spec.sealed_extras
    return RequestExtras.model_validate_json(vault.open(sealed, purpose="request-extras", row=record.request_key))


class FetchStep:
    """The plain request."""

    def __init__(self, requests: RequestStore, seller: Seller, vault: Sealer) -> None:
        self._requests = requests
        self._seller = seller
        self._vault = vault

    @activity.defn(name="fetch")
    async def fetch(self, order: PaymentOrder) -> FetchResult:
        """Ask, store what came, and say what it is. Raises SellerUnavailable when it is worth asking again."""
        record = await self._requests.get(order.request_key)
        # The ledger's URL, not the order's: policy judges that one, and an order is a message that anyone may send.
        plain = await self._seller.ask(record.spec.url, record.spec.method, open_extras(self._vault, record))
        if isinstance(plain, Refused):
            return plain
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
