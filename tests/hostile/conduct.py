"""How sellers behave, apart from asking: each function gives one act, to be put together in the tables of `ways`."""

import asyncio
import base64
import json
from collections.abc import Iterable
from typing import Any

from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

from tests.hostile.asking import JSON, encoded, entry
from tests.hostile.scene import DEVNET, Scene, Spoken, spoken
from tests.hostile.shop import Act, Visit
from tests.localnet.stack import until

GOODS = b'{"data": 42}'
RECEIPT_HEADERS = {1: "X-PAYMENT-RESPONSE", 2: "PAYMENT-RESPONSE"}
HELD_BLOCKS = 100
"""How long a payment can be held back and still land for sure: it lives for 150."""


def says(status: int, headers: Spoken = (), body: Spoken = b"") -> Act:
    """That status with these headers and this body."""

    async def act(visit: Visit) -> None:
        await visit.answer(status, spoken(headers, visit.scene), spoken(body, visit.scene))

    return act


def sends(*parts: Spoken, pause_s: float = 0) -> Act:
    """These bytes as they are, however malformed."""

    async def act(visit: Visit) -> None:
        for part in parts:
            await visit.send(spoken(part, visit.scene))
            await asyncio.sleep(pause_s)

    return act


def streams(head: bytes, part: bytes, pause_s: float = 0) -> Act:
    """The head, and then the same part for ever."""

    async def act(visit: Visit) -> None:
        await visit.send(head)
        while True:
            await visit.send(part)
            await asyncio.sleep(pause_s)

    return act


def in_turn(*acts: Act) -> Act:
    """One act after the other; the last one from then on."""

    async def act(visit: Visit) -> None:
        await acts[min(visit.number, len(acts)) - 1](visit)

    return act


def delivers(
    body: Spoken = GOODS, receipt: Spoken = None, status: int = 200, headers: Iterable[tuple[str, str]] = (JSON,)
) -> Act:
    """The goods, with the receipt of this payment's settlement if there was one, or with another receipt."""

    async def act(visit: Visit) -> None:
        own = visit.scene.receipts.get(visit.sealed or "")
        shown = own if receipt is None else spoken(receipt, visit.scene)
        name = RECEIPT_HEADERS[visit.payment["x402Version"]]
        proof = [(name, encoded(shown))] if shown else []
        await visit.answer(status, [*headers, *proof], spoken(body, visit.scene))

    return act


def settles(then: Act, times: int = 1) -> Act:
    """Settle a payment that is new through the facilitator, as sellers do; then that act, or 402 if it would not."""

    async def act(visit: Visit) -> None:
        assert visit.sealed is not None
        if visit.sealed not in visit.scene.receipts:
            settled = [await _settle(visit) for _ in range(times)]
            if not settled[0]["success"]:
                visit.scene.objections.append(settled[0])
                await visit.answer(402)
                return
            visit.scene.receipts[visit.sealed] = settled[0]
        await then(visit)

    return act


async def _settle(visit: Visit) -> dict[str, Any]:
    payment = visit.payment
    wanted = payment["accepted"] if payment["x402Version"] == 2 else entry(visit.scene, 1)
    places = visit.scene.places
    content = json.dumps({"paymentPayload": payment, "paymentRequirements": wanted})
    headers = {"Content-Type": "application/json"}
    answer = await places.http.post(f"{places.facilitator_url}/settle", content=content, headers=headers)
    receipt: dict[str, Any] = answer.raise_for_status().json()
    return receipt


def broadcasts(then: Act, times: int = 1) -> Act:
    """Sign as the fee payer oneself, the key being the payee's, and send, without any facilitator; then that act."""

    async def act(visit: Visit) -> None:
        for _ in range(times):
            await _broadcast(visit.scene, visit.payment)
        await then(visit)

    return act


def hoards(payments: int, then: Act) -> Act:
    """Keep every payment; with that many different ones at hand, send them all; then that act."""

    async def act(visit: Visit) -> None:
        if visit.payment not in visit.scene.kept:
            visit.scene.kept.append(visit.payment)
        if len(visit.scene.kept) >= payments:
            for payment in visit.scene.kept:
                await _broadcast(visit.scene, payment)
        await then(visit)

    return act


def tells_the_time(then: Act) -> Act:
    """Look at the chain's clock, so that `holds_back` knows how old the next payment can be; then that act."""

    async def act(visit: Visit) -> None:
        visit.scene.asked_at = await _height(visit.scene)
        await then(visit)

    return act


def holds_back(then: Act) -> Act:
    """Send each payment late, as long as it can still land, having answered long before."""
    waiting: list[asyncio.Task[None]] = []

    async def send_late(scene: Scene, payment: dict[str, Any], due: int) -> None:
        async def is_due() -> bool:
            return await _height(scene) >= due

        await until(is_due, "the last moment")
        await _broadcast(scene, payment)

    async def act(visit: Visit) -> None:
        scene, payment = visit.scene, visit.payment
        if payment not in scene.kept:
            scene.kept.append(payment)
            waiting.append(asyncio.create_task(send_late(scene, payment, scene.asked_at + HELD_BLOCKS)))
        await then(visit)

    return act


async def _height(scene: Scene) -> int:
    return int(await scene.places.ask_chain("getBlockHeight", {"commitment": "processed"}))


async def _broadcast(scene: Scene, payment: dict[str, Any]) -> None:
    transaction = VersionedTransaction.from_bytes(base64.b64decode(payment["payload"]["transaction"]))
    signed = _as_fee_payer(transaction, scene.key("payee"))
    wire = base64.b64encode(bytes(signed)).decode()
    await scene.places.ask_chain("sendTransaction", wire, {"encoding": "base64", "skipPreflight": True})


def _as_fee_payer(transaction: VersionedTransaction, payer: Keypair) -> VersionedTransaction:
    signature = payer.sign_message(to_bytes_versioned(transaction.message))
    return VersionedTransaction.populate(transaction.message, [signature, *transaction.signatures[1:]])


def receipt_of(transaction: str | None, *, success: bool = True, **more: object) -> dict[str, Any]:
    """A receipt that names a transaction."""
    return {"success": success, "network": DEVNET, "transaction": transaction or "", **more}
