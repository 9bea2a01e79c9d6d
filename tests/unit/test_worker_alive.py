"""`worker.py --alive FILE`: the file tells a health check that the worker lives and reaches Temporal."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

import worker
from autopay.health.alive import report_alive


class Frontend:
    """As much of a client as health needs; answers or does not."""

    def __init__(self, answers: bool) -> None:
        self.answers = answers
        self.service_client = self

    async def check_health(self, timeout: timedelta) -> bool:
        if not self.answers:
            raise RPCError("no connection", RPCStatusCode.UNAVAILABLE, b"")
        return True


@pytest.mark.parametrize("answers", [True, False])
async def test_the_file_is_touched_only_while_temporal_answers(answers: bool, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    with suppress(TimeoutError):
        await asyncio.wait_for(report_alive(cast("Client", cast("Any", Frontend(answers))), alive), timeout=0.2)
    assert alive.exists() is answers


@pytest.mark.parametrize("arguments", [["--alive"], ["--check"], ["--alive", "a", "b"]])
def test_other_arguments_are_refused(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["worker.py", *arguments])
    assert worker.main() == 2
    assert "usage: python worker.py [--alive FILE]" in capsys.readouterr().err
