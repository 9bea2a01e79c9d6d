"""A checkpoint file: how far reconciliations have come, as JSON. What it means is `domain/reconcile_marks.py`."""

import os
import time
from pathlib import Path

from pydantic import ValidationError

from autopay.domain.errors import PermanentFault
from autopay.domain.network import Network
from autopay.domain.reconcile.marks import Marks

EVERY_S = 1.0


class CheckpointUnusable(PermanentFault):
    """The checkpoint file cannot be used: give another file, or none."""


class CheckpointFile:
    """Reads the marks once, and writes them at most once a second: a killed run loses no more than that.

    Args:
        path: made when it does not exist; replaced whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written = 0.0
        self._waiting: Marks | None = None

    def read(self, network: Network) -> Marks:
        """What the file says; nothing compared yet when there is none.

        Raises:
            CheckpointUnusable: not a checkpoint, of another network, or the file cannot be read or written.
        """
        marks = Marks(network=network)
        if self._path.exists():
            try:
                marks = Marks.model_validate_json(self._path.read_bytes())
            except OSError as error:
                raise CheckpointUnusable(f"{self._path}: {error.strerror}") from None
            except ValidationError:
                raise CheckpointUnusable(f"{self._path} holds something else") from None
        if marks.network != network:
            raise CheckpointUnusable(f"{self._path} is of {marks.network}, not of {network}")
        self._write(marks)  # better now than after a walk of hours
        return marks

    def keep(self, marks: Marks) -> None:
        """Remember these marks, on disk within a second or at `flush`."""
        self._waiting = marks
        if time.monotonic() - self._written >= EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet."""
        if self._waiting is not None:
            self._write(self._waiting)

    def _write(self, marks: Marks) -> None:
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            with draft.open("w") as file:
                file.write(marks.model_dump_json() + "\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._path)
        except OSError as error:
            raise CheckpointUnusable(f"{self._path}: {error.strerror}") from None
        self._written, self._waiting = time.monotonic(), None
