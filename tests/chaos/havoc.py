"""Does the plan's faults to a running stack, paced by progress, and makes fair weather in the end.

What must not live here: which faults (plan.py), and what they must not break (verdict.py).
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx

from autopay.processes import start_time
from localnet.stack import Stack
from tests.chaos.plan import Change, Kill, Plan
from tests.chaos.progress import Progress

LOOK_S = 0.05
WEATHER_S = 5
"""A service that does not answer for so long (it was killed) keeps the weather it has after its restart: fair."""
UP_S = 60
FAIR_WEATHER: Mapping[str, Any] = {}


class Havoc:
    """The fault schedule. A fault comes when progress has come so far, or `patience_s` after the one before."""

    def __init__(self, stack: Stack, services: Mapping[str, str], progress: Progress, patience_s: float) -> None:
        self.kills: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.missed = 0
        self._stack = stack
        self._services = services
        self._progress = progress
        self._patience_s = patience_s
        self._outages: set[asyncio.Task[bool]] = set()
        self._http = httpx.AsyncClient(trust_env=False, timeout=WEATHER_S)

    async def wreak(self, plan: Plan) -> None:
        """Every fault of the plan, in its order, spread over its purchases."""
        for number, fault in enumerate(plan.faults, start=1):
            if not (isinstance(fault, Kill) and fault.at_once):
                due = number * len(plan.purchases) // (len(plan.faults) + 1)
                await self._progress.until_ended_or(due, self._patience_s)
            if isinstance(fault, Kill):
                await self._kill(fault.part)
            else:
                await self._change(fault)

    async def clear(self) -> None:
        """Fair weather everywhere, every part up."""
        for outage in self._outages:
            outage.cancel()
        for part in self._stack.names:
            await self._until_alive(part)
        for service in self._services:
            assert await self._put(service, FAIR_WEATHER, UP_S), f"{service} is not back after {UP_S} s"
        await self._http.aclose()

    async def _kill(self, part: str) -> None:
        await self._until_alive(part)
        await self._stack.kill(part)
        self.kills[part] += 1

    async def _until_alive(self, part: str) -> None:
        deadline = time.monotonic() + UP_S
        while start_time(self._stack.pid(part)) is None:
            assert time.monotonic() < deadline, f"{part} is not back after {UP_S} s"
            await asyncio.sleep(LOOK_S)

    async def _change(self, change: Change) -> None:
        changed = await self._put(change.service, FAIR_WEATHER, WEATHER_S)
        if changed and change.faults:
            changed = await self._put(change.service, change.faults, WEATHER_S)
        if not changed:
            self.missed += 1
            return
        self.changes[" ".join(change.faults) or "fair"] += 1
        if change.outage_s:
            outage = asyncio.create_task(self._end_outage(change))
            self._outages.add(outage)
            outage.add_done_callback(self._outages.discard)

    async def _end_outage(self, change: Change) -> bool:
        await asyncio.sleep(change.outage_s)
        return await self._put(change.service, {"outage": False}, WEATHER_S)

    async def _put(self, service: str, faults: Mapping[str, Any], patience_s: float) -> bool:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                (await self._http.put(f"{self._services[service]}/weather", json=faults)).raise_for_status()
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    return False
                await asyncio.sleep(LOOK_S)
            else:
                return True
