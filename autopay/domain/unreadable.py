"""`Unreadable`: what a handler gets for a message whose payload cannot be read. It drops that message, and goes on."""

from dataclasses import dataclass
from datetime import datetime

from autopay.domain.values import Value

MAX_WHY_LENGTH = 300
"""Characters that say why a payload cannot be read."""


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value that was sent and cannot be read: sealed with another keyring, damaged, or of another shape.

    A workflow's handler that names it in its parameter's type (`notice: Notice | Unreadable`) gets it instead of the
    value; for any other the message is refused. It is never sent.
    """

    why: str


class DroppedSignal(Value):
    """A signal that was dropped, as it could not be read: when, its name, and why."""

    at: datetime
    signal: str
    why: str
