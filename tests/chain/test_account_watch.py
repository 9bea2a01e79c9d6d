"""Waiting for token accounts to change, on the real chain, over a wire that can be cut."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.instructions import approve_checked, revoke
from spl.token.models import ApproveCheckedParams, RevokeParams

from autopay.adapters.solana.account_watch import SolanaAccountWatch
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.rpc import NodeRpc
from autopay.domain.errors import ChainUnavailable
from autopay.domain.network import Network
from localnet.chain.genesis import DECIMALS, MINT_AUTHORITY
from localnet.chain.rpc.pubsub import MAX_SUBSCRIPTIONS
from tests.chain.conftest import USDC
from tests.chain.listening import holding
from tests.chain.node import ChainNode, eventually
from tests.chain.wallet import Token, Wallets, pay_sol

LONG_S = 60  # of a wait that must not last
SHORT_S = 0.3  # of one that must


class Wire:
    """A TCP connection to the chain's WebSocket that can be cut."""

    def __init__(self, port: int) -> None:
        self.opened = 0
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._intact = True

    async def lay(self) -> str:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._intact:
            writer.close()
            return
        self.opened += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._open |= {writer, far_writer}
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    def cut(self) -> None:
        self._intact = False
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    def mend(self) -> None:
        self._intact = True

    async def take_up(self) -> None:
        self.cut()
        self._server.close()
        await self._server.wait_closed()


@pytest.fixture
async def wire(node: ChainNode) -> AsyncIterator[Wire]:
    wire = Wire(node.port)
    yield wire
    await wire.take_up()


@contextlib.asynccontextmanager
async def watching(node: ChainNode, ws_url: str, poll_s: float) -> AsyncIterator[SolanaAccountWatch]:
    async with NodeRpc(node.url, Network.DEVNET) as rpc:
        watch = SolanaAccountWatch(SolanaChain(rpc), ws_url, poll_s)
        yield watch
        await watch.close()


@pytest.fixture
async def watch(node: ChainNode, wire: Wire) -> AsyncIterator[SolanaAccountWatch]:
    """Polls so rarely that only the WebSocket can tell in time."""
    async with watching(node, await wire.lay(), poll_s=LONG_S) as watch:
        yield watch


async def waiting(watch: SolanaAccountWatch, *accounts: Pubkey) -> "asyncio.Task[bool]":
    """A wait that has begun and is told of changes."""
    names = tuple(map(str, accounts))
    task = asyncio.create_task(watch.changed(names, LONG_S))

    async def told() -> bool:
        return task.done() or (watch._feed is not None and watch._feed.is_subscribed(names))

    await eventually(told)
    return task


def approve(token: Token, source: Pubkey, delegate: Pubkey, owner: Pubkey, amount_atomic: int) -> Instruction:
    return approve_checked(
        ApproveCheckedParams(
            program_id=token.program,
            source=source,
            mint=token.mint,
            delegate=delegate,
            owner=owner,
            amount=amount_atomic,
            decimals=DECIMALS,
        )
    )


async def test_an_amount_a_delegate_and_an_allowance_are_changes(
    watch: SolanaAccountWatch, wallets: Wallets, token: Token
) -> None:
    owner, account = await holding(wallets, token)
    session, key = Keypair(), owner.pubkey()
    changes = [
        token.transfer(account, await wallets.fund(token, Keypair().pubkey(), 1), key, 10),
        approve(token, account, session.pubkey(), key, 50),
        approve(token, account, session.pubkey(), key, 60),
        revoke(RevokeParams(program_id=token.program, account=account, owner=key)),
    ]
    for change in changes:
        task = await waiting(watch, account)
        assert not task.done()
        await wallets.wait(await wallets.send([change], owner))
        assert await task


async def test_one_of_several_accounts_is_enough_and_a_new_account_is_a_change(
    watch: SolanaAccountWatch, wallets: Wallets
) -> None:
    _, first = await holding(wallets, USDC)
    newcomer = Keypair().pubkey()
    task = await waiting(watch, first, USDC.account_of(newcomer))
    await wallets.fund(USDC, newcomer, 5)
    assert await task


async def test_nothing_and_lamports_alone_are_no_change(watch: SolanaAccountWatch, wallets: Wallets) -> None:
    owner, account = await holding(wallets, USDC)
    wait = asyncio.create_task(watch.changed((str(account),), SHORT_S))
    await wallets.send([pay_sol(owner.pubkey(), account, 5)], owner)
    assert await wait is False


async def test_a_change_between_two_calls_is_told_by_the_second(watch: SolanaAccountWatch, wallets: Wallets) -> None:
    owner, account = await holding(wallets, USDC)
    assert await watch.changed((str(account),), SHORT_S) is False
    await wallets.wait(await wallets.send([USDC.mint_to(owner.pubkey(), 1)], MINT_AUTHORITY))
    assert await watch.changed((str(account),), LONG_S)


async def test_a_change_before_the_subscription_begins_is_not_missed(
    watch: SolanaAccountWatch, wallets: Wallets, wire: Wire
) -> None:
    owner, account = await holding(wallets, USDC)
    wire.cut()
    assert await watch.changed((str(account),), SHORT_S) is False
    task = asyncio.create_task(watch.changed((str(account),), LONG_S))
    await wallets.wait(await wallets.send([USDC.mint_to(owner.pubkey(), 1)], MINT_AUTHORITY))
    wire.mend()
    assert await task


async def test_a_cut_wire_is_laid_again_and_what_happened_meanwhile_is_told(
    watch: SolanaAccountWatch, wallets: Wallets, wire: Wire
) -> None:
    owner, account = await holding(wallets, USDC)
    task = await waiting(watch, account)
    wire.cut()
    await wallets.wait(await wallets.send([USDC.mint_to(owner.pubkey(), 1)], MINT_AUTHORITY))
    wire.mend()
    assert await task
    task = await waiting(watch, account)
    await wallets.wait(await wallets.send([USDC.mint_to(owner.pubkey(), 1)], MINT_AUTHORITY))
    assert await task
    assert wire.opened == 2


async def test_all_waits_share_one_connection_and_leave_nothing_behind(
    watch: SolanaAccountWatch, wallets: Wallets, wire: Wire
) -> None:
    owner, account = await holding(wallets, USDC)
    others = [USDC.account_of(Keypair().pubkey()) for _ in range(5)]
    tasks = [await waiting(watch, account, other) for other in others]
    await wallets.wait(await wallets.send([USDC.mint_to(owner.pubkey(), 1)], MINT_AUTHORITY))
    assert await asyncio.gather(*tasks) == [True] * 5

    async def nothing_is_left() -> bool:
        feed = watch._feed
        return feed is not None and not feed._subscribed and not feed._inboxes

    await eventually(nothing_is_left)
    assert wire.opened == 1


@pytest.mark.parametrize("ws_url", ["", "ws://127.0.0.1:1"])
async def test_without_a_websocket_accounts_are_polled(node: ChainNode, wallets: Wallets, ws_url: str) -> None:
    owner, account = await holding(wallets, USDC)
    async with watching(node, ws_url, poll_s=0.02) as watch:
        assert await watch.changed((str(account),), SHORT_S) is False
        task = asyncio.create_task(watch.changed((str(account),), LONG_S))
        await wallets.send([USDC.mint_to(owner.pubkey(), 1)], MINT_AUTHORITY)
        assert await task


async def test_a_node_that_refuses_the_subscription_is_polled(node: ChainNode, wallets: Wallets) -> None:
    owner, account = await holding(wallets, USDC)
    crowd = [str(Keypair().pubkey()) for _ in range(MAX_SUBSCRIPTIONS)]
    async with watching(node, node.ws_url, poll_s=0.02) as watch:
        feed = watch._feed
        assert feed is not None
        with feed.listen(crowd):

            async def full() -> bool:
                return feed.is_subscribed(crowd)

            await eventually(full)
            assert await watch.changed((str(account),), SHORT_S) is False
            task = asyncio.create_task(watch.changed((str(account),), LONG_S))
            await wallets.send([USDC.mint_to(owner.pubkey(), 1)], MINT_AUTHORITY)
            assert await task
            assert not feed.is_subscribed([str(account)])


async def test_a_chain_that_is_away_at_the_first_or_the_last_reading_is_a_fault(own_node: ChainNode) -> None:
    account = (str(USDC.account_of(Keypair().pubkey())),)
    async with watching(own_node, "", poll_s=0.02) as watch:
        assert await watch.changed(account, SHORT_S) is False
        task = asyncio.create_task(watch.changed(account, 1))
        own_node.stop()
        with pytest.raises(ChainUnavailable):
            await task
        with pytest.raises(ChainUnavailable):
            await watch.changed(account, LONG_S)
