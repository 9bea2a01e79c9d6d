"""A story without chance: an agent is launched again while a payment of its earlier session is unresolved."""

import asyncio
from random import Random

from autopay.domain.request import RequestSpec, x402_request_id
from autopay.domain.steps import PayOrder
from tests.simulation.shell import Shell
from tests.simulation.steps import Activities
from tests.world.clock import run_virtually, sleep_ms
from tests.world.shop import Shop
from tests.world.world import World

PATIENCE_S = 3_600


def replaced_while_unresolved() -> str:
    """How the request stands an hour after the owner approved a new key; its bytes never landed."""
    return run_virtually(_story())


async def _story() -> str:
    world = World(
        [Shop(host="shop.example", price_atomic=1_000)],
        rng=Random(1),  # noqa: S311
        rates={"seller.pending_and_never_lands": 1.0},
        quiet_at_ms=10**9,
    )
    world.launch("agent", balance=50_000, allowance=5_000, tx_limit=10)
    await sleep_ms(60_000)
    spec = RequestSpec(request_id="one", url="https://shop.example/data")
    await world.ledger.accept("agent", spec, 1.0, 10)
    key = x402_request_id("agent", "one")
    order = PayOrder(agent="agent", request_id="one", request_key=key, url=spec.url)
    running = asyncio.create_task(Shell(world, Activities.over(world), order).run())
    await sleep_ms(10_000)
    world.launch("agent", balance=0, allowance=7_000, tx_limit=10, key_number=2)
    await asyncio.wait({running}, timeout=PATIENCE_S)
    return running.result().status.value if running.done() else "still unresolved"
