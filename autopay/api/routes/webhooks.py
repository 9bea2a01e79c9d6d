"""/api/webhooks."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query

from autopay.api.models.webhooks import Delivery, DeliveryList, Webhook, WebhookList
from autopay.api.services import ServicesNeeded
from autopay.client.errors import InvalidCall
from autopay.domain.webhooks.records import WebhookEndpoint

router = APIRouter(tags=["webhooks"])


@router.get("/webhooks")
async def webhooks(services: ServicesNeeded) -> WebhookList:
    """Where events are sent to, and whether they arrive. Endpoints are made and removed by the command `webhook`."""
    found = await services.sources.ledger.webhooks.list()
    return WebhookList(items=tuple(_webhook(each) for each in found))


@router.get("/webhooks/{endpoint_id}/deliveries")
async def deliveries(
    endpoint_id: UUID,
    services: ServicesNeeded,
    limit: Annotated[int, Query(ge=1, le=200, description="How many.")] = 50,
) -> DeliveryList:
    """The last events for an endpoint, newest first, and what became of each; those of 30 days are kept."""
    book = services.sources.ledger.webhooks
    if endpoint_id not in {each.endpoint_id for each in await book.list()}:
        raise InvalidCall(f"there is no endpoint {endpoint_id}", "unknown_webhook")
    found = await book.deliveries(endpoint_id, limit)
    return DeliveryList(items=tuple(Delivery.model_validate(each.model_dump()) for each in found))


def _webhook(endpoint: WebhookEndpoint) -> Webhook:
    return Webhook.model_validate(endpoint.model_dump() | {"state": endpoint.state})
