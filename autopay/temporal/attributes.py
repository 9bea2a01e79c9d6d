"""Search attributes: how agents and payments are found in the Temporal UI. Never encrypted, so never secret."""

from typing import Any

from temporalio.common import SearchAttributeKey, SearchAttributePair, SearchAttributeUpdate, TypedSearchAttributes
from temporalio.workflow import unsafe

with unsafe.imports_passed_through():
    from autopay.domain.money import to_units
    from autopay.domain.payment.steps import PaymentOrder, SignedAttempt
    from autopay.domain.text.hosts import host_of

AGENT = SearchAttributeKey.for_keyword("AutopayAgent")
STATE = SearchAttributeKey.for_keyword("AutopayState")
ENDPOINT = SearchAttributeKey.for_keyword("AutopayEndpoint")
STATUS = SearchAttributeKey.for_keyword("AutopayStatus")
PRICE = SearchAttributeKey.for_float("AutopayPrice")
CURRENCY = SearchAttributeKey.for_keyword("AutopayCurrency")

ALL = (AGENT, STATE, ENDPOINT, STATUS, PRICE, CURRENCY)


def agent_attributes(name: str, state: str) -> TypedSearchAttributes:
    """What an agent's workflow starts with."""
    return TypedSearchAttributes([SearchAttributePair(AGENT, name), SearchAttributePair(STATE, state)])


def request_attributes(order: PaymentOrder) -> TypedSearchAttributes:
    """What a request's workflow starts with."""
    endpoint = order.url.split("?")[0].split("://")[-1].removeprefix(host_of(order.url)) or "/"
    return TypedSearchAttributes(
        [
            SearchAttributePair(AGENT, order.agent),
            SearchAttributePair(ENDPOINT, endpoint[:200]),
            SearchAttributePair(STATUS, "asking"),
        ]
    )


def payment_attributes(status: str, signed: SignedAttempt) -> list[SearchAttributeUpdate[Any]]:
    """What is known once a payment is signed; the price in token units."""
    return [
        STATUS.value_set(status),
        PRICE.value_set(float(to_units(signed.amount_atomic))),
        CURRENCY.value_set(signed.currency.value),
    ]
