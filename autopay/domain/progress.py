"""How a long check reports its progress to whoever runs it."""

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """What is being done, as text for people; `done` of `total` sessions where that is known."""

    text: str
    done: int | None = None
    total: int | None = None


OnProgress = Callable[[Progress], None]


def ignore_progress(_: Progress) -> None:
    """The default: nobody watches."""
