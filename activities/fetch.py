"""Step 1: ask the seller plainly. 2xx is free, 402 an offer, anything else a failure with its class."""

from temporalio import activity

from autopay.domain.errors import SellerUnavailable
from autopay.domain.offer import Challenge, Reason, Refused, origin
from autopay.domain.ports import Extras, Ledger, Plain, RequestRecord, Seller, Vault
from autopay.domain.steps import Failed, Fetched, Free, PayOrder


def open_extras(vault: Vault, record: RequestRecord) -> Extras:
    """Headers and body of a request, unsealed for the length of one exchange."""
    if record.spec.sealed_extras is None:
        return Extras()
    sealed = record.spec.sealed_extras
    return Extras.model_validate_json(vault.open(sealed, purpose="request-extras", row=record.request_key))


class Fetch:
    """The plain request. `http_hosts` are hosts beside loopback that may be asked without TLS."""

    def __init__(self, ledger: Ledger, seller: Seller, vault: Vault, http_hosts: frozenset[str]) -> None:
        self._ledger = ledger
        self._seller = seller
        self._vault = vault
        self._http_hosts = http_hosts

    @activity.defn(name="fetch")
    async def fetch(self, order: PayOrder) -> Fetched:
        """Ask, store what came, and say what it is. Raises SellerUnavailable when it is worth asking again."""
        if (refused := self._transport(order.url)) is not None:
            return refused
        record = await self._ledger.request(order.request_key)
        plain = await self._seller.ask(order.url, order.method, open_extras(self._vault, record))
        await self._ledger.record_plain(order.request_key, plain)
        return _meaning(plain)

    def _transport(self, url: str) -> Refused | None:
        target = origin(url)
        if target is None:
            return Refused(reason=Reason.INSECURE_TRANSPORT, message=f"{url[:200]!r} is not an http(s) address")
        scheme, host, _ = target
        if scheme == "https" or host in ("localhost", "127.0.0.1", "::1") or host in self._http_hosts:
            return None
        return Refused(
            reason=Reason.INSECURE_TRANSPORT,
            message=f"{host} is asked without TLS; use https, or name it in AUTOPAY_ALLOWED_HTTP_HOSTS",
        )


def _meaning(plain: Plain) -> Free | Failed | Challenge | Refused:
    status = plain.reply.http_status
    if plain.challenge is not None:
        return plain.challenge
    if 200 <= status < 300:
        return Free(http_status=status)
    if status == 429 or status >= 500:
        raise SellerUnavailable(f"HTTP {status}", retry_after_ms=plain.reply.retry_after_ms)
    if 300 <= status < 400:
        return Failed(type="seller_redirects", message="the seller redirects; ask the new address", http_status=status)
    return Failed(type="seller_rejected", message=f"the seller answers HTTP {status}", http_status=status)
