"""Somebody with a shell and a ledger, and nothing else that runs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from autopay.adapters.postgres import open_ledger
from autopay.cli.app import run
from tests.ledger.books import Book, open_book


class Operator:
    """Somebody with a shell and a database."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self._url = url
        self._capsys = capsys

    def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run a command that must end with that code; stdout and stderr."""
        found = run(list(arguments))
        out, err = self._capsys.readouterr()
        assert found == code, f"{arguments} ended with {found}: {out}{err}"
        return out, err

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command with --json says."""
        return [json.loads(line) for line in self(*arguments, "--json")[0].splitlines()]

    def do(self, work: Callable[[Book], Awaitable[None]]) -> None:
        """Have something in the ledger."""

        async def all_of_it() -> None:
            ledger = open_ledger(self._url)
            await work(await open_book(ledger))
            await ledger.dispose()

        asyncio.run(all_of_it())
