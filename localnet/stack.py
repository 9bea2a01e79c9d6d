"""The embedded stack: starts every part, waits until each answers, restarts what dies, stops all in reverse.

As a library:

    stack = Stack(home, workers=1, ephemeral=True)
    async with stack as addresses:
        await stack.kill("worker-1")
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import psycopg
from alembic.util import CommandError as AlembicError
from sqlalchemy.exc import SQLAlchemyError

from autopay.adapters.postgres.maintenance.migrations import upgrade
from autopay.adapters.postgres.maintenance.roles import Role, apply_rights, make_roles
from autopay.adapters.postgres.maintenance.server import Server
from autopay.domain.errors import Fault
from autopay.processes import own_start_time
from autopay.settings.stack_file import StackFile
from localnet.chain.genesis import CASH_MINT, USDC_MINT
from localnet.child import Child, StackError
from localnet.failures import first_line, one_line, os_error_line
from localnet.home import Home
from localnet.ports import PREFERRED, PortClaims, choose_ports
from localnet.postgres_part import PostgresPart
from localnet.programs import (
    HOST,
    chain_program,
    codec_program,
    facilitator_program,
    page_is_installed,
    page_program,
    sellers_program,
    url,
    worker_child,
)
from localnet.supervisor import Supervisor, all_of
from localnet.temporal import temporal_program

logger = logging.getLogger(__name__)


class Stack:
    """All parts on loopback, with their state in `home`.

    Args:
        home: kept between starts; the same data and, when free, the same ports again.
        slot_ms: length of the chain's slots.
        workers: how many worker processes to run beside the stack.
        page: serve the API and the page as well, where `autopay[api]` is installed.
        ephemeral: take any free ports, so that several stacks run side by side.
        report: told, in a sentence each, what people should know.
        check: told the addresses before any worker is started; what it raises ends the start.
    """

    def __init__(
        self,
        home: Path,
        *,
        slot_ms: int = 400,
        workers: int = 0,
        page: bool = False,
        ephemeral: bool = False,
        report: Callable[[str], None] = logger.warning,
        check: Callable[[StackFile], None] = lambda _addresses: None,
    ) -> None:
        self.home = Home(home)
        self._slot_ms = slot_ms
        self._workers = workers
        self._has_page = page and page_is_installed()
        self._ephemeral = ephemeral
        self._report = report
        self._check = check
        self._running: Supervisor | None = None
        self._claims = PortClaims()

    async def __aenter__(self) -> StackFile:
        return await self.start()

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> StackFile:
        """Start everything; on return every part answers, and the database has the newest schema.

        Raises:
            StackError: another process runs this home, or a part does not come up. Nothing is left running.
        """
        self.home.hold()
        try:
            return await self._start()
        except BaseException as error:
            await self.stop()
            if isinstance(error, OSError):
                raise StackError(os_error_line(error, self.home.path)) from error
            raise

    async def _start(self) -> StackFile:
        leftovers = await self.home.end_leftovers()
        if leftovers:
            self._report(f"ended what an earlier stack left running: {', '.join(leftovers)}")
        self._running = Supervisor(self._report, self._record)
        ports = self._ports()
        addresses = await self._start_parts(ports)
        self._check(addresses)
        self.home.publish(addresses)
        codec = Child(codec_program(self.home.path, ports), self.home.logs)
        found_by_home = [codec]
        if self._has_page:
            found_by_home.append(Child(page_program(self.home.path, ports), self.home.logs))
        await all_of((self._supervisor.start(*found_by_home), self._start_workers(self._workers)))
        return addresses

    async def stop(self) -> None:
        """Stop everything in reverse order, and give the home back."""
        try:
            if self._running is not None:
                await self._running.stop_all()
                self._running = None
        finally:
            self._claims.release()
            self.home.release()

    async def run(self) -> None:
        """Return never, but raise when the stack cannot go on.

        Raises:
            StackError: a part died too often.
        """
        await self._supervisor.given_up()

    @property
    def names(self) -> list[str]:
        """The parts by name, in the order in which they were started."""
        return list(self._supervisor.parts)

    @property
    def starting(self) -> list[str]:
        """The parts by name that were started and do not answer yet."""
        return sorted(self._running.starting) if self._running is not None else []

    def pid(self, name: str) -> int:
        """The process id of a part."""
        return self._supervisor.parts[name].pid

    async def kill(self, name: str, *, restart: bool = True) -> None:
        """SIGKILL to a part; it is started again like one that died by itself, unless told otherwise."""
        await self._supervisor.kill(name, restart=restart)

    async def kill_all(self) -> None:
        """SIGKILL to every part, so that a `stop` under way has nothing left to wait for."""
        if self._running is not None:
            await self._running.kill_all()

    async def restart(self, name: str) -> None:
        """Stop a part if it runs, start it, and wait until it answers."""
        await self._supervisor.restart(name)

    async def start_workers(self, count: int) -> list[str]:
        """Start that many more workers, wait until they are ready, and return their names."""
        used = set(self._worker_names)
        free = [n for n in range(1, len(used) + count + 1) if f"worker-{n}" not in used]
        workers = [worker_child(self.home.path, self.home.logs, number) for number in free[:count]]
        await self._supervisor.start(*workers)
        return [worker.name for worker in workers]

    async def _start_workers(self, count: int) -> None:
        await self.start_workers(count)

    async def stop_workers(self) -> None:
        """Let every worker drain and end, all at once."""
        await self._supervisor.stop(*self._worker_names)

    @property
    def _worker_names(self) -> list[str]:
        return [name for name in self.names if name.startswith("worker-")]

    @property
    def _supervisor(self) -> Supervisor:
        assert self._running is not None, "the stack is not running"
        return self._running

    def _record(self) -> None:
        self.home.record(self._supervisor.parts.values())

    def _ports(self) -> dict[str, int]:
        ports = choose_ports(self.home.path, self._claims, ephemeral=self._ephemeral)
        if not self._ephemeral:
            self._tell_moved(ports)
        return ports

    async def _start_parts(self, ports: dict[str, int]) -> StackFile:
        """All at once, but for those that find the others by the home: who needs another waits for it by itself."""
        home = self.home.path
        postgres = PostgresPart(home, ports["postgres"])
        programs = (
            temporal_program(home, ports["temporal"], ports["temporal-ui"], url(ports["codec"])),
            chain_program(home, ports, self._slot_ms),
            facilitator_program(home, ports),
            sellers_program(home, ports),
        )
        self.home.logs.mkdir(exist_ok=True)
        self.home.make_keyring()
        children = [Child(program, self.home.logs) for program in programs]
        self._supervisor.parts[postgres.name] = postgres  # first in, last out
        await all_of((self._start_database(postgres), self._supervisor.start(*children)))
        return self._addresses(ports, postgres)

    def _tell_moved(self, ports: dict[str, int]) -> None:
        moved = [
            f"{part} {ports[part]} instead of {usual}" for part, usual in PREFERRED.items() if ports[part] != usual
        ]
        if moved:
            self._report(f"some usual ports were taken, so this home has others: {', '.join(moved)}")

    async def _start_database(self, postgres: PostgresPart) -> None:
        await self._supervisor.start(postgres)
        try:
            await asyncio.to_thread(_prepare, postgres.url)
        except (AlembicError, Fault, SQLAlchemyError, psycopg.Error) as error:
            what = f"the ledger's schema could not be brought to this version ({first_line(error)})"
            raise StackError(one_line(what, "", postgres.log, self.home.path)) from error

    def _addresses(self, ports: dict[str, int], postgres: PostgresPart) -> StackFile:
        return StackFile(
            pid=os.getpid(),
            born=own_start_time(),
            home=str(self.home.path),
            temporal=f"{HOST}:{ports['temporal']}",
            temporal_ui=url(ports["temporal-ui"]),
            codec=url(ports["codec"]),
            database_url=postgres.url,
            work_url=postgres.url_of(Role.WORK),
            read_url=postgres.url_of(Role.READ),
            page=url(ports["page"]) if self._has_page else "",
            api=f"{url(ports['page'])}/api" if self._has_page else "",
            solana_rpc=url(ports["chain"]),
            solana_ws=url(ports["chain-ws"], "ws"),
            facilitator=url(ports["facilitator"]),
            market_api=url(ports["market"]),
            knowledge_api=url(ports["knowledge"]),
            slot_ms=self._slot_ms,
            usdc_mint=str(USDC_MINT),
            cash_mint=str(CASH_MINT),
        )


def _prepare(database_url: str) -> None:
    """The newest schema, and the roles: whoever reaches this server is trusted, so they need no passwords."""
    upgrade(database_url)
    server = Server(database_url)
    make_roles(server, {})
    apply_rights(server)
