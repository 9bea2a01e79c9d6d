"""What goes wrong, and when: decided by one random generator, counted by kind, and over at a set time.

A `Process` is what can crash. Every call of a port is a point at which it may: before the effect, while waiting,
or after the effect and before the caller hears of it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from random import Random

from tests.world.clock import now_ms, sleep_ms
from tests.world.trace import Trace


class Crashed(BaseException):
    """The process is gone: nothing in it may catch this."""


class Process:
    """A worker, as far as one run is concerned. `lost` is called once, when the world gives it up.

    A process that is given up may go on for a while without knowing it (a zombie), until `dies_at_ms`.
    """

    def __init__(self, name: str, lost: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.lost = lost
        self.abandoned = False
        self.dies_at_ms: int | None = None

    def give_up(self, dies_at_ms: int) -> None:
        """Nobody listens to it any more; at `dies_at_ms` it stops."""
        if not self.abandoned:
            self.abandoned = True
            self.dies_at_ms = dies_at_ms
            self.lost()

    @property
    def is_dead(self) -> bool:
        """It stopped: no call of it will have an effect any more."""
        return self.dies_at_ms is not None and now_ms() >= self.dies_at_ms

    def check(self) -> None:
        """Raise Crashed when the process is dead."""
        if self.is_dead:
            raise Crashed(self.name)


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""The process that the running task belongs to; None for what never crashes (sellers, the chain, plain tests)."""


class Faults:
    """Decides by chance. Kinds without a rate never happen; none happens from `quiet_at_ms` on."""

    def __init__(
        self,
        rng: Random,
        trace: Trace,
        rates: Mapping[str, float] | None = None,
        quiet_at_ms: int = 0,
        zombie_ms: int = 60_000,
    ) -> None:
        self.rng = rng
        self.trace = trace
        self.rates = dict(rates or {})
        self.quiet_at_ms = quiet_at_ms
        self.zombie_ms = zombie_ms
        self.counts: Counter[str] = Counter()

    @property
    def quiet(self) -> bool:
        """Nothing goes wrong any more."""
        return now_ms() >= self.quiet_at_ms

    def strikes(self, kind: str) -> bool:
        """Whether that goes wrong now; counted when it does."""
        rate = self.rates.get(kind, 0.0)
        if rate <= 0 or self.quiet or self.rng.random() >= rate:
            return False
        self.note(kind)
        return True

    def note(self, kind: str) -> None:
        """Count a fault that was decided elsewhere."""
        self.counts[kind] += 1
        self.trace.add("fault", what=kind)

    async def enter(self, place: str, latency_ms: int) -> None:
        """The way into a port: takes time, and the calling process may die before or on it."""
        process = PROCESS.get()
        if process is None:
            if latency_ms:
                await sleep_ms(self.rng.randint(1, latency_ms))
            return
        process.check()
        if self.strikes("crash.before"):
            self.crash(process, place)
        await sleep_ms(self.rng.randint(1, latency_ms))
        process.check()

    def leave(self, place: str) -> None:
        """The way out of a port: the effect has happened, the caller may never hear of it."""
        process = PROCESS.get()
        if process is not None:
            process.check()
            if self.strikes("crash.after"):
                self.crash(process, place)

    def crash(self, process: Process, place: str) -> None:
        """The process dies here, or goes on as a zombie.

        Raises:
            Crashed: it died.
        """
        self.trace.add("crash", process=process.name, place=place)
        if self.strikes("crash.zombie"):
            process.give_up(now_ms() + self.rng.randint(1, self.zombie_ms))
            return
        process.give_up(now_ms())
        process.check()
