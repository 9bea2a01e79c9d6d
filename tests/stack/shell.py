"""Commands on a running stack, run in this process: a process of its own takes two seconds to import everything."""

import asyncio
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from autopay.cli.app import run


@dataclass
class Shell:
    """Somebody with a shell. One command at a time: what is written meanwhile is taken for the command's."""

    home: Path

    async def __call__(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Run a command that must end with that code; stdout and stderr."""
        with redirect_stdout(_File()) as out, redirect_stderr(_File()) as err:
            found = await asyncio.to_thread(run, [*arguments, "--home", str(self.home)])
        written = out.written(), err.written()
        assert found == code, f"{arguments} ended with {found}: {''.join(written)}"
        return written

    async def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command with --json says."""
        return json.loads((await self(*arguments, "--json", code=code))[0])


class _File(TextIOWrapper):
    """A text file in memory that bytes can be written to, as to the standard output."""

    def __init__(self) -> None:
        super().__init__(BytesIO(), encoding="utf-8", write_through=True)

    def written(self) -> str:
        """All that was written."""
        self.seek(0)
        return self.read()
