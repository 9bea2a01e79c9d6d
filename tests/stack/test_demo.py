"""`starter.py demo` as a process: its chapters, its sums, and what it leaves behind."""

import asyncio
import json
import signal
import sys
from asyncio import StreamReader
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from autopay.processes import start_time
from tests.stack.up import PATIENCE_S, STARTER, clean_environment

STORY_S = 240
CHAPTERS = ["priority", "money", "person", "outage", "kill", "end"]


@asynccontextmanager
async def demo(home: Path, *options: str) -> AsyncIterator[Process]:
    """It runs, with a chain of short slots; bytes still live longer than a dead worker goes unnoticed."""
    story = await asyncio.create_subprocess_exec(
        sys.executable, str(STARTER), "demo", "--home", str(home), *options,
        stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=clean_environment() | {"AUTOPAY_SLOT_MS": "120"},
    )  # fmt: skip
    try:
        yield story
    finally:
        if story.returncode is None:
            story.kill()  # its parts end with it
            await story.communicate()


async def until_said(text: str, stream: StreamReader | None, within_s: float = PATIENCE_S) -> str:
    """All that it says up to a line with these words."""
    assert stream is not None
    said = ""
    async with asyncio.timeout(within_s):
        async for line in stream:
            said += line.decode()
            if text in said:
                return said
    raise AssertionError(f"it ended without saying {text!r}:\n{said}")


async def test_every_chapter_happens_the_counts_agree_and_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with demo(home, "--json", "--keep") as story:
        assert story.stderr is not None
        heard = asyncio.create_task(story.stderr.read())
        try:
            await until_said("Stop with Ctrl-C", story.stdout, STORY_S)
        except AssertionError:
            pytest.fail((await heard).decode())
        pids = [pid for pid, _ in json.loads((home / "pids.json").read_text()).values()]
        assert len(pids) == 8
        story.send_signal(signal.SIGINT)
        assert story.stdout is not None
        out = await asyncio.wait_for(story.stdout.read(), PATIENCE_S)
        err = (await heard).decode()
        assert await story.wait() == 0, err
        assert "\x1b" not in out.decode() + err, "nothing but plain lines, where there is no terminal"
        assert [pid for pid in pids if start_time(pid) is not None] == []
    said: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert said["ok"]
    assert said["ledger_verify"]["ok"]
    assert said["spent_ledger"] == said["spent_chain"]
    assert said["requests"] == said["delivered"] == said["verified"] > 10
    assert_told(said["chapters"])


def assert_told(chapters: dict[str, Any]) -> None:
    """What each chapter must have seen."""
    assert list(chapters) == CHAPTERS
    assert chapters["priority"]["scores"] == sorted(chapters["priority"]["scores"], reverse=True)
    assert "needed" in chapters["money"]["reason"]
    assert chapters["person"]["paid_as_approved"]
    assert chapters["outage"]["held"]
    assert chapters["outage"]["free"]
    assert chapters["kill"]["same_attempt"]
    assert chapters["kill"]["sends"] == 2
    assert len(set(chapters["kill"]["pids"])) == 2
    assert all(chapters["end"]["sent_again"].values())
