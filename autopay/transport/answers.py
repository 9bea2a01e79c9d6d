"""The answer of a purchase as an HTTP answer. Pure."""

from dataclasses import dataclass

from autopay.client.errors import PurchaseUndelivered
from autopay.client.values import Purchase, Receipt


@dataclass(frozen=True)
class Answer:
    """Status, headers and content as the seller sent them, as far as they are kept; `receipt` says what was paid.

    `coding` is a content coding that could not be undone, so that the content is as it came.
    """

    status: int
    headers: dict[str, str]
    content: bytes
    coding: str | None
    receipt: Receipt


def answer_of(purchase: Purchase) -> Answer:
    """The answer that a purchase with content is.

    Raises:
        PurchaseUndelivered: its content was thrown away since.
    """
    if purchase.pruned is not None:
        raise PurchaseUndelivered(purchase, purchase.pruned)
    content = purchase.content or b""
    headers = {
        "content-type": purchase.content_type,
        "content-location": purchase.content_location,
        **receipt_headers(purchase.receipt),
    }
    status = purchase.http_status
    return Answer(
        status=status if status is not None and 200 <= status < 300 else 200,
        headers={name: value for name, value in headers.items() if value is not None},
        content=content,
        coding=purchase.content_encoding,
        receipt=purchase.receipt,
    )


def receipt_headers(receipt: Receipt) -> dict[str, str | None]:
    """The receipt in headers, for programs that see nothing else of an answer."""
    return {
        "autopay-id": receipt.id,
        "autopay-agent": receipt.agent,
        "autopay-status": receipt.status.value,
        "autopay-price": None if receipt.price is None else f"{receipt.price:f}",
        "autopay-currency": receipt.currency,
        "autopay-pay-to": receipt.pay_to,
        "autopay-transaction": receipt.transaction,
        "autopay-content-of": receipt.content_of,
        "autopay-content-complete": "false" if receipt.content_complete is False else None,
    }
