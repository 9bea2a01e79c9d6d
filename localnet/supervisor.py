"""Keeps a set of processes alive: starts them together, restarts what dies by itself, stops all in reverse order."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from localnet.child import POLL_S, StackError

START_TIMEOUT_S = 90
BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Waits before the restarts of a part that keeps dying; one more death within CALM_S is given up."""
CALM_S = 60


class Part(Protocol):
    """A process of the stack: `Child`, or PostgreSQL."""

    @property
    def name(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def started(self) -> str: ...
    @property
    def exit_code(self) -> int | None: ...
    async def start(self) -> None: ...
    async def wait_until_answers(self, timeout_s: float) -> None: ...
    async def stop(self) -> None: ...
    async def kill(self) -> None: ...
    def ending(self) -> str: ...
    def failure(self, what: str) -> str: ...


class Supervisor:
    """Parts by name, in the order in which they were added; each with a task that watches it.

    `starting` are the names of those that were started and do not answer yet.

    `changed` is called whenever a part has a new process, `report` is told in sentences what people should know.
    """

    def __init__(self, report: Callable[[str], None], changed: Callable[[], None]) -> None:
        self.parts: dict[str, Part] = {}
        self.starting: set[str] = set()
        self._report = report
        self._changed = changed
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._on_purpose: set[str] = set()
        self._given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self, *parts: Part) -> None:
        """Start them at once, and return when all of them answer.

        Raises:
            StackError: one did not come up; the others are left as they are.
        """
        for part in parts:
            self.parts[part.name] = part
        await all_of(self._start(part) for part in parts)

    async def stop(self, *names: str) -> None:
        """Stop these parts at once and forget them."""
        await all_of(self._end(name) for name in names)
        for name in names:
            del self.parts[name]

    async def stop_all(self) -> None:
        """Stop every part, the newest first; one that cannot be stopped is reported, and keeps no other alive."""
        for name in reversed(list(self.parts)):
            try:
                await self.stop(name)
            except (StackError, OSError) as error:
                self._report(f"{name} (pid {self.parts[name].pid}) could not be stopped: {error}")
        if self._given_up.done():
            self._given_up.exception()  # seen, whether anybody waited for it or not

    async def kill(self, name: str, *, restart: bool) -> None:
        """SIGKILL to a part."""
        if restart:
            self._on_purpose.add(name)
        else:
            await self._unwatch(name)
        await self.parts[name].kill()

    async def kill_all(self) -> None:
        """SIGKILL to every part, for somebody who does not want to wait; `stop_all` is still to be called."""
        await all_of(self.kill(name, restart=False) for name in self.parts)

    async def restart(self, name: str) -> None:
        """Stop a part if it runs, start it, and wait until it answers."""
        await self._end(name)
        await self._start(self.parts[name])

    async def given_up(self) -> None:
        """Return never, but raise `StackError` when a part has died too often."""
        await asyncio.shield(self._given_up)

    async def _start(self, part: Part) -> None:
        self.starting.add(part.name)
        try:
            await part.start()
            self._changed()
            await part.wait_until_answers(START_TIMEOUT_S)
        finally:
            self.starting.discard(part.name)
        self._watchers[part.name] = asyncio.create_task(self._watch(part), name=f"watch {part.name}")

    async def _end(self, name: str) -> None:
        await self._unwatch(name)
        await self.parts[name].stop()

    async def _unwatch(self, name: str) -> None:
        watcher = self._watchers.pop(name, None)
        if watcher is not None:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    async def _watch(self, part: Part) -> None:
        deaths: deque[float] = deque()
        while True:
            while part.exit_code is None:  # noqa: ASYNC110 (a process has no event to wait for)
                await asyncio.sleep(POLL_S)
            if part.name in self._on_purpose:
                self._on_purpose.discard(part.name)
            else:
                while deaths and deaths[0] < time.monotonic() - CALM_S:
                    deaths.popleft()
                deaths.append(time.monotonic())
            if len(deaths) > len(BACKOFF_S):
                self._give_up(part.failure(f"{part.name} died {len(deaths)} times ({part.ending()})"))
                return
            await self._revive(part, BACKOFF_S[max(len(deaths) - 1, 0)])

    async def _revive(self, part: Part, wait_s: float) -> None:
        self._report(f"{part.name} died ({part.ending()}), starting it again")
        await asyncio.sleep(wait_s)
        try:
            await part.start()
            self._changed()
            await part.wait_until_answers(START_TIMEOUT_S)
        except (StackError, OSError) as error:
            self._report(str(error))
            await part.kill()
        else:
            self._report(f"{part.name} is back")

    def _give_up(self, why: str) -> None:
        if not self._given_up.done():
            self._given_up.set_exception(StackError(why))


async def all_of(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once; the first error ends the rest and is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
