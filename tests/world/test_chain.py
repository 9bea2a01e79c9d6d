"""The simulated cluster and its nodes keep the rules that the product relies on."""

from random import Random
from typing import Any

import pytest

from autopay.domain.errors import NodeBehind
from tests.world.chain import BLOCKHASH_BLOCKS, FINALIZED_DEPTH, SLOT_MS
from tests.world.clock import run_virtually, sleep_ms
from tests.world.node import View
from tests.world.rows import SessionEntry
from tests.world.shop import MINT, Shop, address
from tests.world.vault import message_hash_of, signature_by, token_account_of
from tests.world.world import World

SHOP = Shop(host="shop.example", price_atomic=1_000)


def world_with_agent(allowance: int = 5_000, balance: int = 50_000) -> tuple[World, SessionEntry]:
    world = World([SHOP], rng=Random(1), skip_rate=0.2)  # noqa: S311
    return world, world.launch("agent", balance=balance, allowance=allowance, tx_limit=10)


def message_of(world: World, session: SessionEntry, amount: int = 1_000, memo: str = "memo") -> dict[str, Any]:
    return {
        "fee_payer": address("facilitator"),
        "source": session.key.source_account,
        "mint": MINT,
        "destination": token_account_of(SHOP.pay_to, MINT),
        "authority": session.key.authority,
        "amount": amount,
        "memo": memo,
        "blockhash": world.chain.blockhash_of(world.chain.confirmed_slot()),
    }


def send(world: World, message: dict[str, Any], delay_ms: int = 0) -> None:
    signature = signature_by(message["authority"], message_hash_of(message))
    world.chain.broadcast(message, signature, delay_ms)


def test_an_identical_message_moves_money_once() -> None:
    async def story() -> None:
        world, session = world_with_agent()
        await sleep_ms(60_000)
        message = message_of(world, session)
        send(world, message)
        send(world, message, delay_ms=2_000)
        await sleep_ms(10_000)
        assert [each.error for each in world.chain.transactions] == [None]
        assert world.chain.newest_state(session.key.source_account).amount == 49_000

    run_virtually(story())


def test_a_message_lands_in_the_last_valid_block_and_never_after_it() -> None:
    async def story() -> None:
        world, session = world_with_agent()
        await sleep_ms(60_000)
        message = message_of(world, session)
        last = world.chain.last_valid_height(message["blockhash"])
        while world.chain.height_at(world.chain.slot_now()) < last:
            await sleep_ms(SLOT_MS)
        send(world, message)
        await sleep_ms(SLOT_MS)
        late = message_of(world, session, memo="late")
        late["blockhash"] = message["blockhash"]
        await sleep_ms(5_000)
        send(world, late)
        await sleep_ms(SLOT_MS * BLOCKHASH_BLOCKS)
        assert [(each.memo, each.height) for each in world.chain.transactions] == [("memo", last)]

    run_virtually(story())


def test_a_used_up_allowance_ends_the_delegation() -> None:
    async def story() -> None:
        world, session = world_with_agent(allowance=1_000)
        await sleep_ms(60_000)
        send(world, message_of(world, session))
        await sleep_ms(10_000)
        state = world.chain.newest_state(session.key.source_account)
        assert (state.delegate, state.delegated) == (None, 0)

    run_virtually(story())


def test_height_is_below_slot_where_slots_are_empty() -> None:
    async def story() -> None:
        world, _ = world_with_agent()
        early = world.chain.slot_now() - world.chain.height_at(world.chain.slot_now())
        await sleep_ms(200_000)
        late = world.chain.slot_now() - world.chain.height_at(world.chain.slot_now())
        assert late > early

    run_virtually(story())


def test_a_payment_is_seen_at_confirmed_before_it_is_final() -> None:
    async def story() -> None:
        world, session = world_with_agent()
        await sleep_ms(60_000)
        send(world, message_of(world, session))
        await sleep_ms(SLOT_MS * 6)
        signature = world.chain.transactions[0].signature
        landed = await world.node.transaction(signature)
        assert landed is not None
        assert not landed.final
        await sleep_ms(SLOT_MS * (FINALIZED_DEPTH + 6))
        landed = await world.node.transaction(signature)
        assert landed is not None
        assert landed.final

    run_virtually(story())


def test_a_lagging_node_refuses_a_slot_that_it_has_not_reached() -> None:
    async def story() -> None:
        world, session = world_with_agent()
        await sleep_ms(60_000)
        tip = await world.node.finalized_tip()
        with pytest.raises(NodeBehind):
            world.node._reads_at(View(lag=50), True, tip.slot)
        history = await world.node.history(session.key.source_account, until=None, final=True, min_slot=tip.slot)
        assert list(history) == []

    run_virtually(story())
