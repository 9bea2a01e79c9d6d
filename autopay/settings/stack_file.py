"""HOME/stack.json: the addresses of a running embedded stack, for commands and workers."""

import json
import os
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from autopay.processes import is_process

STACK_FILE = "stack.json"
KEYRING_FILE = "keyring"
OWNER_FILE = "owner.json"


class StackFile(BaseModel):
    """Addresses of an embedded stack, and the process that runs it, which started at `born` (`own_start_time`).

    `work_url` is the database for workers, `read_url` for who only reads. `page` and `api` are "" where none is served.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    pid: int
    born: str
    home: str
    temporal: str
    temporal_ui: str
    codec: str
    database_url: str
    work_url: str
    solana_rpc: str
    solana_ws: str
    facilitator: str
    market_api: str
    knowledge_api: str
    slot_ms: int
    usdc_mint: str
    cash_mint: str
    read_url: str = ""
    page: str = ""
    api: str = ""

    def write(self, home: Path) -> None:
        """Replace HOME/stack.json, whole or not at all; readable by its owner only."""
        draft = home / f".{STACK_FILE}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
            file.write(self.model_dump_json(indent=2) + "\n")
        draft.replace(home / STACK_FILE)

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """What HOME/stack.json says, or None when there is none that can be read."""
        try:
            return cls.model_validate(json.loads((home / STACK_FILE).read_text()))
        except (OSError, ValueError, ValidationError):
            return None


def running_stack(home: Path) -> StackFile | None:
    """The embedded stack of `home`, when the process that wrote its file is alive."""
    stack = StackFile.read(home)
    return stack if stack is not None and is_process(stack.pid, stack.born) else None
