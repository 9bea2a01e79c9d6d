"""Everything that the ways share: the chain, the facilitator, one ledger, and one buyer's adapters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from autopay.adapters.postgres import open_ledger
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.rpc import NodeRpc
from autopay.adapters.vault import Keyring, Vault
from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.network import Network
from autopay.domain.report.rows import TimelineRow
from autopay.domain.request import RequestResult
from localnet.chain.app import build_app
from localnet.tokens import load_or_create_keypair
from localnet.weather.middleware import AsgiApp
from tests.hostile.accounts import begin_chain, wallet
from tests.hostile.buyer import SLOT_MS, Buyer
from tests.hostile.conduct import says
from tests.hostile.scene import ALLOWANCE, FACILITATOR, FUNDS, LAMPORTS, Places, Scene
from tests.hostile.shop import Shop
from tests.hostile.way import Way
from tests.localnet.stack import Service, free_port

POLL_MS = 20
IMPATIENT_S = 1.0

Node = Callable[[str], contextlib.AbstractAsyncContextManager[str]]


@contextlib.asynccontextmanager
async def _as_it_is(rpc_url: str) -> AsyncIterator[str]:
    yield rpc_url


@dataclass
class Outcome:
    """What came of a way. Amounts are base units, read on the chain; `drawn` is what the delegate used up."""

    results: list[RequestResult]
    rows: list[TimelineRow]
    moved: int
    drawn: int
    unsettled: int
    shop: Shop
    buyer: Buyer

    @property
    def signed(self) -> int:
        """How many different payments the seller got to see."""
        return len({visit.sealed for visit in self.shop.paid})


class Served(uvicorn.Server):
    """A server in this event loop, which leaves the signals to pytest."""

    def __init__(self, app: AsgiApp) -> None:
        self.port = free_port()
        super().__init__(uvicorn.Config(app, "127.0.0.1", self.port, ws="none", access_log=False, log_config=None))
        self._serving: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def open(self) -> str:
        """Serve; its URL, once it answers."""
        self._serving = asyncio.create_task(self.serve())
        while not self.started:
            assert not self._serving.done(), "it did not start"
            await asyncio.sleep(0.01)
        return f"http://127.0.0.1:{self.port}"

    async def close(self) -> None:
        """Serve no more."""
        self.should_exit = True
        if self._serving is not None:
            await self._serving


class Town:
    """Opens with every way's accounts on chain; `try_way` lets one seller loose on one buyer.

    The chain runs in this event loop: on a busy machine blocks come as late as all else, so that no payment dies of
    its buyer's slowness. `node` opens a node in front of it, for the buyer alone.
    """

    def __init__(self, home: Path, database_url: str, ways: Iterable[Way], node: Node = _as_it_is) -> None:
        self._home, self._database_url = home, database_url
        self._places = Places()
        self._scenes = {str(way): Scene(str(way), self._places, way.mint, way.frozen_payee) for way in ways}
        self._vault, self._node = Vault(Keyring.generate()), node
        self._open = contextlib.AsyncExitStack()
        self.trap = Shop(Scene("trap", self._places), says(200), says(200))

    async def __aenter__(self) -> "Town":
        try:
            await self._build()
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def _build(self) -> None:
        places = self._places
        self._open.push_async_callback(places.http.aclose)
        places.rpc_url = await self._opened(Served(self._chain_app()))
        places.facilitator_url = await self._facilitator(places.rpc_url)
        places.trap_url = await self._opened(self.trap)
        places.stranger = await places.ask_chain("requestAirdrop", str(Pubkey.new_unique()), LAMPORTS)
        self._ledger = open_ledger(self._database_url)
        self._open.push_async_callback(self._ledger.dispose)
        node_url = await self._open.enter_async_context(self._node(places.rpc_url))
        self._chain = SolanaChain(await self._open.enter_async_context(NodeRpc(node_url, Network.DEVNET)))
        self._patient, self._impatient = HttpSeller(), HttpSeller(timeout_s=IMPATIENT_S, ask_timeout_s=IMPATIENT_S)
        for part in (self._patient, self._impatient):
            self._open.push_async_callback(part.close)

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    def _chain_app(self) -> AsgiApp:
        accounts = {FACILITATOR.pubkey(): wallet(10 * LAMPORTS)}
        for scene in self._scenes.values():
            accounts |= scene.accounts()
        begin_chain(self._home, accounts)
        return build_app(self._home, SLOT_MS)

    async def _facilitator(self, rpc_url: str) -> str:
        _keep(FACILITATOR, self._home / "facilitator.json")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        options = ("--home", str(self._home), "--rpc", rpc_url, "--port", str(port), "--poll-ms", str(POLL_MS))
        service = Service(self._home, "localnet.facilitator", *options)
        self._open.callback(service.stop)
        await service.wait_for(f"{url}/health")
        return url

    async def _opened(self, part: Served | Shop) -> str:
        self._open.push_async_callback(part.close)
        return await part.open()

    async def try_way(self, way: Way) -> Outcome:
        """Everything that the way says, to its end."""
        scene = self._scenes[str(way)]
        shop = Shop(scene, way.plain, way.paid)
        await shop.open()
        seller = self._impatient if way.impatient else self._patient
        buyer = Buyer(way, scene, ledger=self._ledger, chain=self._chain, seller=seller, vault=self._vault)
        await buyer.open()
        try:
            results = [await buyer.buy(number) for number in range(1, len(way.ends) + 1)]
        finally:
            await shop.close()
        rows = list(await self._ledger.reports.timeline(buyer.agent))
        moved, drawn = await self.gone(way)
        sessions = await self._ledger.sessions.list(buyer.agent)
        [record] = [each for each in sessions if each.currency is buyer.currency]
        unsettled = (await self._ledger.sessions.in_flight(record.session_id)).amount_atomic
        return Outcome(results, rows, moved, drawn, unsettled, shop, buyer)

    async def gone(self, way: Way) -> tuple[int, int]:
        """What has left the session's account by now, and what its key has used of its allowance."""
        source = await self._chain.token_account(self._scenes[str(way)].address("source"))
        assert source is not None
        return FUNDS - source.amount_atomic, ALLOWANCE - source.delegated_atomic

    async def got(self, way: Way, role: str) -> int:
        """What that role's token account holds."""
        account = await self._chain.token_account(str(self._scenes[str(way)].account_of(role)))
        return account.amount_atomic if account is not None else 0


def _keep(keypair: Keypair, path: Path) -> None:
    path.write_text(str(list(bytes(keypair))))
    assert load_or_create_keypair(path) == keypair
