"""A checkpoint file: `Checkpoint` of `autopay.domain.reconcile.checkpoint` as JSON."""

import os
import time
from pathlib import Path

from pydantic import ValidationError

from autopay.domain.errors import PermanentFault
from autopay.domain.network import Network
from autopay.domain.reconcile.checkpoint import Checkpoint

WRITE_EVERY_S = 1.0


class CheckpointUnusable(PermanentFault):
    """The checkpoint file cannot be used: give another file, or none."""


class CheckpointFile:
    """Reads the checkpoint once, and writes it at most once a second: a killed run loses no more than that.

    Args:
        path: created when it does not exist; always replaced whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = 0.0
        self._waiting: Checkpoint | None = None

    def read(self, network: Network) -> Checkpoint:
        """The content of the file; an empty checkpoint when there is none.

        Raises:
            CheckpointUnusable: not a checkpoint, of another network, or the file cannot be read or written.
        """
        checkpoint = Checkpoint(network=network)
        try:
            checkpoint = Checkpoint.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            pass  # a new one
        except OSError as error:
            raise CheckpointUnusable(f"{self._path}: {error.strerror}") from None
        except ValidationError:
            raise CheckpointUnusable(f"{self._path} holds something else") from None
        if checkpoint.network != network:
            raise CheckpointUnusable(f"{self._path} is of {checkpoint.network}, not of {network}")
        self._write(checkpoint)  # better now than after a walk of hours
        return checkpoint

    def save(self, checkpoint: Checkpoint) -> None:
        """Write it now, or when a second has passed or at `flush`."""
        self._waiting = checkpoint
        if time.monotonic() - self._written >= WRITE_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._waiting is not None:
            self._write(self._waiting)

    def _write(self, checkpoint: Checkpoint) -> None:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with draft.open("w") as file:
                file.write(checkpoint.model_dump_json() + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise CheckpointUnusable(f"{self._path}: {error.strerror}") from None
        self._written, self._waiting = time.monotonic(), None
