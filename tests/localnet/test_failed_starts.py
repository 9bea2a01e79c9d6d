"""A stack that does not come up: nothing of it lives on, and one line says what failed and what to do.

Its parts are small shell scripts here, so that each can fail at each moment; its files, locks and ports are real.
"""

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from alembic.util import CommandError as AlembicError

from autopay.cli.connect.event_loop import in_foreground
from autopay.domain.errors import LedgerUnavailable
from localnet import stack as stack_module
from localnet.child import Child, Program, StackError
from localnet.home import Home
from localnet.ports import PORTS_FILE, PortClaims
from localnet.postgres_part import PostgresPart
from localnet.programs import chain_program
from localnet.stack import Stack

PARTS = ("postgres", "temporal", "chain", "facilitator", "sellers", "codec", "worker-1")
MARK = "SCRIPT_OF_HOME"
WORKS, FAILS, HANGS = "echo here; exec sleep 600", "echo no such luck; exit 3", "exec sleep 600"


def part(home: Path, name: str) -> Child:
    """A script that does what HOME.scripts/NAME says, and answers once it has written 'here'."""
    script = home.with_suffix(".scripts") / name
    code = script.read_text() if script.exists() else WORKS

    async def answers() -> bool:
        return "here" in made.written()

    made = Child(Program(name, ["/bin/sh", "-c", code], answers, {MARK: str(home)}, grace_s=5), home / "logs")
    return made


class ScriptedPostgres(Child):
    """A script in PostgreSQL's place."""

    url = "postgresql://nobody@/nothing"

    def __init__(self, home: Path, _port: int) -> None:
        made = part(home, "postgres")
        super().__init__(made.program, home / "logs")
        self.program = replace(made.program, answers=self._answers)

    async def _answers(self) -> bool:
        return "here" in self.written()

    def url_of(self, _role: str) -> str:
        return self.url


@pytest.fixture(autouse=True)
def _scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    def program(name: str, home: Path, *_: Any) -> Program:
        return Program(name, [], lambda: asyncio.sleep(0, False))

    for name in ("temporal", "chain", "facilitator", "sellers", "codec"):
        monkeypatch.setattr(stack_module, f"{name}_program", partial(program, name))
    monkeypatch.setattr(stack_module, "Child", lambda made, logs: part(logs.parent, made.name))
    monkeypatch.setattr(stack_module, "worker_child", lambda home, _logs, number: part(home, f"worker-{number}"))
    monkeypatch.setattr(stack_module, "PostgresPart", ScriptedPostgres)
    monkeypatch.setattr(stack_module, "_prepare", lambda _url: None)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home; whatever happens, no process of it outlives the test."""
    path = tmp_path / "home"
    yield path
    for process in processes_of(path):
        process.kill()


def scripted(home: Path, **codes: str) -> None:
    """From now on these parts run that code."""
    folder = home.with_suffix(".scripts")
    folder.mkdir(exist_ok=True)
    for name, code in codes.items():
        (folder / name.replace("_", "-")).write_text(code)


def processes_of(home: Path) -> list[psutil.Process]:
    """Every process on this machine that was started for that home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(home) or str(home) in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def assert_nothing_left(home: Path) -> None:
    """No process, no lock, no claim on a port, and nobody is told that a stack runs."""
    assert processes_of(home) == []
    assert not (home / "stack.json").exists()
    assert not (home / "pids.json").exists()
    again = Home(home)
    again.hold()
    again.release()
    if (home / PORTS_FILE).is_file():
        claims = PortClaims()
        ports = json.loads((home / PORTS_FILE).read_text()).values()
        assert all(claims.claim(port) for port in ports)
        claims.release()


def new_stack(home: Path, said: list[str] | None = None) -> Stack:
    return Stack(home, workers=1, ephemeral=True, report=(said if said is not None else []).append)


async def failure(home: Path) -> str:
    """What a start that must fail says, which is one line."""
    with pytest.raises(StackError) as failed:
        await new_stack(home).start()
    assert "\n" not in str(failed.value)
    return str(failed.value)


async def test_scripts_in_the_parts_places_make_a_stack(home: Path) -> None:
    stack = new_stack(home)
    async with stack:
        assert stack.names == list(PARTS)
        assert len(processes_of(home)) == len(PARTS)
    assert_nothing_left(home)


@pytest.mark.parametrize("name", PARTS)
async def test_a_part_that_fails_leaves_nothing_running_and_one_line_says_why(home: Path, name: str) -> None:
    scripted(home, **{name: FAILS})
    log = home / "logs" / f"{name}.log"
    said = await failure(home)
    assert said.startswith(f"{name} did not start (exit 3): no such luck; its log: {log}; ")
    assert said.endswith("start again, or take another --home")
    assert_nothing_left(home)


@pytest.mark.parametrize("name", PARTS)
async def test_a_part_that_never_answers_is_given_up(home: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localnet.supervisor.START_TIMEOUT_S", 0.3)
    scripted(home, **{name: HANGS})
    assert f"{name} does not answer after" in await failure(home)
    assert_nothing_left(home)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        pytest.param(
            AlembicError("Can't locate revision identified by '0099_later'"),
            "a newer version of Autopay has used",
            id="newer-schema",
        ),
        pytest.param(LedgerUnavailable("it went away"), "it went away", id="database-gone"),
        pytest.param(psycopg.OperationalError("first line\nsecond line"), "(first line)", id="driver"),
        pytest.param(psycopg.errors.DiskFull("No space left on device"), "make room on that disk", id="full-disk"),
        pytest.param(OSError(28, "No space left on device", "/x"), "make room on that disk", id="full-disk-here"),
    ],
)
async def test_a_migration_that_fails_stops_all(
    home: Path, error: Exception, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_url: str) -> None:
        raise error

    monkeypatch.setattr(stack_module, "_prepare", fail)
    assert says in await failure(home)
    assert_nothing_left(home)


def _full(name: str) -> Callable[[Path], object]:
    """Each write of that file says that the disk is full."""

    def spoil(home: Path) -> None:
        home.mkdir()
        (home / name).symlink_to("/dev/full")

    return spoil


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(
            lambda home: (home / PORTS_FILE).mkdir(parents=True), f"{PORTS_FILE} cannot be used", id="ports-a-folder"
        ),
        pytest.param(_full(".pids.json"), "No space left on device; make room on that disk", id="full-at-a-process"),
        pytest.param(
            lambda home: (home / "lock").mkdir(parents=True), "cannot be used as home: Is a", id="lock-a-folder"
        ),
        pytest.param(
            lambda home: home.mkdir() or (home / "logs").write_text(""),
            "logs cannot be used: File exists",
            id="logs-a-file",
        ),
        pytest.param(lambda home: (home / "stack.json").mkdir(parents=True), "stack.json", id="stack-json-a-folder"),
        pytest.param(lambda home: home.write_text(""), "cannot be used as home", id="home-a-file"),
    ],
)
async def test_a_home_that_cannot_be_written_is_named(home: Path, spoil: Callable[[Path], object], says: str) -> None:
    spoil(home)
    assert says in await failure(home)
    assert processes_of(home) == []


async def test_a_claim_on_ports_that_cannot_be_made_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    assert "/proc/autopay-ports" in await failure(home)
    monkeypatch.undo()
    assert processes_of(home) == []


async def test_what_the_check_of_the_addresses_raises_ends_the_start(home: Path) -> None:
    class NotHereError(Exception):
        pass

    def refuse(_addresses: object) -> None:
        assert not (home / "logs" / "worker-1.log").exists()
        raise NotHereError

    stack = Stack(home, workers=1, ephemeral=True, check=refuse)
    with pytest.raises(NotHereError):
        await stack.start()
    assert_nothing_left(home)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("name", PARTS)
async def test_a_signal_at_any_moment_of_the_start_leaves_nothing_running(
    home: Path, name: str, number: signal.Signals
) -> None:
    scripted(home, **{name: HANGS})
    stack, told = new_stack(home), []
    work = asyncio.create_task(in_foreground(stack, _start(stack), lambda: told.append("stopping")))
    await _until(lambda: (home / "logs" / f"{name}.log").exists() and bool(processes_of(home)))
    os.kill(os.getpid(), number)
    assert not await work
    assert told == ["stopping"]
    assert_nothing_left(home)


async def test_a_second_signal_kills_what_does_not_want_to_stop(home: Path) -> None:
    scripted(home, temporal="trap '' TERM; echo here; exec sleep 600")
    stack = new_stack(home)
    work = asyncio.create_task(in_foreground(stack, _start(stack), lambda: None))
    await _until((home / "stack.json").exists)
    os.kill(os.getpid(), signal.SIGTERM)
    await _until(lambda: len(stack.names) == 2)  # postgres and temporal, which does not listen
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(4):  # less than its grace
        assert not await work
    assert_nothing_left(home)


async def test_a_part_that_cannot_be_stopped_keeps_no_other_alive(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    stack = new_stack(home, said)
    await stack.start()
    stop: Callable[[Child], Awaitable[None]] = Child.stop

    async def refuse(child: Child) -> None:
        await stop(child)
        if child.name == "sellers":
            raise PermissionError("not yours")

    monkeypatch.setattr(Child, "stop", refuse)
    await stack.stop()
    assert ["could not be stopped: not yours" in each for each in said] == [True]
    assert_nothing_left(home)


async def _start(stack: Stack) -> None:
    await stack.start()
    await stack.run()


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (a process has no event to wait for)
            await asyncio.sleep(0.01)


async def test_a_real_data_directory_of_another_postgresql_is_named(home: Path) -> None:
    data = home / "postgres"
    data.mkdir(parents=True, mode=0o700)
    postgres = PostgresPart(home, 0)
    for name, text in (("PG_VERSION", "9.6\n"), ("postgresql.conf", ""), ("pg_hba.conf", ""), ("pg_ident.conf", "")):
        (data / name).write_text(text)
    for path in (data, *data.iterdir()):
        owner = postgres._server._account  # PostgreSQL refuses a directory of another account
        if owner is not None:
            os.chown(path, owner.pw_uid, owner.pw_gid)
    with pytest.raises(StackError, match=r"initialized by PostgreSQL version 9\.6") as failed:
        await postgres.start()
    assert f"{home} was made with another PostgreSQL" in str(failed.value)
    assert "\n" not in str(failed.value)
    assert processes_of(data) == []


async def test_a_real_chain_with_a_damaged_file_is_named(home: Path) -> None:
    (home / "chain").mkdir(parents=True)
    (home / "chain" / "chain.db").write_text("this is no database, and long enough to be looked at as one" * 20)
    claims = PortClaims()
    ports = {name: claims.claim_any() for name in ("chain", "chain-ws")}
    chain = Child(chain_program(home, ports, 50), home / "logs")
    await chain.start()
    with pytest.raises(
        StackError, match=r"chain did not start .*file is not a database; its log: .*chain.log"
    ) as failed:
        await chain.wait_until_answers(60)
    claims.release()
    assert f"a file of {home} is damaged" in str(failed.value)
    assert chain.exit_code is not None
