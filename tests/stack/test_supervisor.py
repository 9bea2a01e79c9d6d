"""The supervisor with small programs: what dies is started again, and what keeps dying is given up."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autopay.processes import start_time
from localnet import supervisor
from localnet.child import Child, Program, StackError
from localnet.supervisor import Supervisor

LIVES = "import time; print('here', flush=True); time.sleep(600)"
DIES = "print('here', flush=True); print('out of luck'); raise SystemExit(3)"
PATIENCE_S = 30


def child(logs: Path, name: str, code: str) -> Child:
    """A Python program that answers once it has written 'here'."""

    async def answers() -> bool:
        return "here" in made.written()

    made = Child(Program(name, [sys.executable, "-c", code], answers, grace_s=5), logs)
    return made


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, not for ever."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_S", (0.0, 0.0, 0.01))


async def test_a_part_that_dies_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    parts = Supervisor(said.append, lambda: None)
    one = child(tmp_path, "one", LIVES)
    await parts.start(one)
    first = one.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: "one is back" in said)
    assert one.pid != first
    assert said[0] == "one died (SIGKILL), starting it again"
    await parts.stop_all()
    assert start_time(one.pid) is None


async def test_a_part_that_keeps_dying_is_given_up_with_the_end_of_its_log(tmp_path: Path) -> None:
    parts = Supervisor(lambda _: None, lambda: None)
    script = tmp_path / "script.py"
    script.write_text(LIVES)
    part = child(tmp_path, "unlucky", f"exec(open({str(script)!r}).read())")
    await parts.start(part)
    script.write_text(DIES)
    os.kill(part.pid, signal.SIGKILL)
    with pytest.raises(StackError, match=r"unlucky died 4 times \(exit 3\)") as given_up:
        await asyncio.wait_for(parts.given_up(), PATIENCE_S)
    assert "out of luck" in str(given_up.value)
    await parts.stop_all()


async def test_killing_on_purpose_is_never_counted(tmp_path: Path) -> None:
    said: list[str] = []
    parts = Supervisor(said.append, lambda: None)
    one = child(tmp_path, "one", LIVES)
    await parts.start(one)
    for time_killed in range(1, 6):
        await parts.kill("one", restart=True)
        await until(lambda n=time_killed: said.count("one is back") == n)  # type: ignore[misc]
    await parts.stop_all()


async def test_a_part_killed_for_good_stays_dead_until_it_is_restarted(tmp_path: Path) -> None:
    parts = Supervisor(lambda _: None, lambda: None)
    one, two = child(tmp_path, "one", LIVES), child(tmp_path, "two", LIVES)
    await parts.start(one, two)
    killed = two.pid
    await parts.kill("one", restart=False)
    await parts.kill("two", restart=True)
    await until(lambda: two.pid != killed and two.exit_code is None)
    assert one.exit_code == -signal.SIGKILL
    await parts.restart("one")
    assert one.exit_code is None
    await parts.stop_all()


async def test_a_part_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    parts = Supervisor(lambda _: None, lambda: None)
    with pytest.raises(StackError, match=r"broken did not start \(exit 1\): no such luck; its log: "):
        await parts.start(child(tmp_path, "broken", "raise SystemExit('no such luck')"))
    await parts.stop_all()


async def test_a_part_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    parts = Supervisor(lambda _: None, lambda: None)
    deaf = child(tmp_path, "deaf", f"import signal; signal.signal(15, signal.SIG_IGN); {LIVES}")
    deaf.program = Program("deaf", deaf.program.command, deaf.program.answers, grace_s=0.1)
    await parts.start(deaf)
    await parts.stop_all()
    assert deaf.exit_code == -signal.SIGKILL
