"""What sellers ask: 402s with honest and dishonest ways to pay."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.hostile.scene import DEVNET, DEVNET_V1, FACILITATOR, PRICE, Scene, Spoken, spoken
from tests.hostile.shop import Act, Visit

GONE = object()
"""In an offer: leave that field out."""

JSON = ("Content-Type", "application/json")


def encoded(content: object) -> str:
    """As x402 headers carry JSON."""
    return base64.b64encode(json.dumps(content).encode()).decode()


def entry(scene: Scene, version: int = 2, extra: Spoken = None, **changes: Spoken) -> dict[str, Any]:
    """An honest way to pay, with changes; `extra` adds to the facilitator's fee payer."""
    fields: dict[str, Any] = {
        "scheme": "exact",
        "network": DEVNET if version == 2 else DEVNET_V1,
        "amount" if version == 2 else "maxAmountRequired": str(PRICE),
        "asset": str(scene.mint.address),
        "payTo": scene.address("payee"),
        "maxTimeoutSeconds": 60,
        "extra": {"feePayer": str(FACILITATOR.pubkey())},
    }
    if version == 1:
        fields |= {"resource": scene.url, "description": "data", "mimeType": "application/json"}
    said = {name: spoken(value, scene) for name, value in changes.items()}
    more = {name: spoken(value, scene) for name, value in (spoken(extra, scene) or {}).items()}
    fields["extra"] |= more
    return _without_gone(fields | said | ({} if "extra" in said else {"extra": _without_gone(fields["extra"])}))


def offer(scene: Scene, *entries: dict[str, Any], version: int = 2, **top: Spoken) -> dict[str, Any]:
    """A 402's content with these ways to pay."""
    content: dict[str, Any] = {"x402Version": version, "error": "Payment required", "accepts": list(entries)}
    if version == 2:
        content["resource"] = {"url": scene.url, "description": "data", "mimeType": "application/json"}
    return _without_gone(content | {name: spoken(value, scene) for name, value in top.items()})


def _without_gone(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not GONE}


def asks(version: int = 2, top: Mapping[str, Spoken] | None = None, **changes: Spoken) -> Act:
    """402 with one way to pay, changed; v2 in the header, v1 in the body. `top` changes what is around it."""
    return asks_all(lambda scene: offer(scene, entry(scene, version, **changes), version=version, **(top or {})))


def lists(version: int = 2, *changes: Mapping[str, Spoken]) -> Act:
    """402 with several ways to pay, each changed in its own way."""
    return asks_all(lambda scene: offer(scene, *[entry(scene, version, **each) for each in changes], version=version))


def asks_all(content: Callable[[Scene], dict[str, Any]]) -> Act:
    """402 with that content."""

    async def act(visit: Visit) -> None:
        said = content(visit.scene)
        if said.get("x402Version") == 1:
            await visit.answer(402, [JSON], json.dumps(said).encode())
        else:
            await visit.answer(402, [("PAYMENT-REQUIRED", encoded(said)), JSON], b"{}")

    return act
