"""A forked process is what a started one is."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.processes.client import real_processes

PROBE = Path(__file__).with_name("probe.py")


@pytest.fixture(params=["forked", "started"])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """How processes come about in this test."""
    with nullcontext() if request.param == "forked" else real_processes():
        yield request.param


def run(*arguments: str, **options: Any) -> tuple[int, dict[str, Any], str]:
    """Exit code, what it told of itself, stderr."""
    command = [sys.executable, str(PROBE), *arguments]
    done = subprocess.run(command, capture_output=True, check=False, encoding="utf-8", input="typed", **options)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_it_has_what_it_was_started_with(way: str, tmp_path: Path) -> None:
    environment = os.environ | {"PROBE": "ä=1", "PROBE_EMPTY": ""}
    code, told, err = run("3", "ä b", cwd=tmp_path, env=environment, start_new_session=True)
    assert (code, err) == (3, "äöü to stderr\n")
    assert told.pop("modules") == (way == "forked")
    assert told == {
        "name": "__main__",
        "arguments": ["3", "ä b"],
        "parent": os.getpid(),
        "session": True,
        "folder": str(tmp_path),
        "variables": {"PROBE": "ä=1", "PROBE_EMPTY": ""},
        "files": 4,  # the fourth is the listing itself
        "threads": 1,
        "input": "typed",
        "path": True,
        "interrupt": True,
    }


def test_it_inherits_environment_folder_and_session(way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROBE", "inherited")
    monkeypatch.chdir(tmp_path)
    code, told, _ = run("0")
    assert (code, told["variables"], told["folder"]) == (0, {"PROBE": "inherited"}, str(tmp_path))
    assert not told["session"]


def test_an_error_that_nobody_catches_is_a_traceback_and_exit_code_1(way: str) -> None:
    code, _, err = run("raise")
    assert code == 1
    assert "Traceback" in err
    assert err.endswith("ValueError: as told\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_and_is_its_exit_code(way: str, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROBE), "wait", stdin=subprocess.DEVNULL, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline())["arguments"] == ["wait"]
    process.send_signal(number)
    _, err = await process.communicate()
    assert process.returncode == -number
    assert (b"KeyboardInterrupt" in err) == (number == signal.SIGINT)


def test_a_module_is_run_as_well(way: str) -> None:
    done = subprocess.run([sys.executable, "-P", "-m", "autopay", "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"autopay ")
    assert done.stderr == b""


def test_what_python_itself_would_heed_starts_a_real_process(way: str) -> None:
    _, told, _ = run("0", env=os.environ | {"PYTHONDEVMODE": ""})
    assert not told["modules"]
    assert run("0", env={"PYTHONPATH": ""})[1]["modules"] == (
        way == "forked" and not any(name.startswith("LANG") for name in os.environ)
    )
