"""Bodies of requests and of 402 answers: kept while they pass, and given again."""

from dataclasses import dataclass, field
from typing import Any

from autopay.transport.demand import MAX_BODY_BYTES


@dataclass
class KeptBody:
    """A copy of a request's body, for its paid repetition.

    `is_known`: it was there before the request was sent. `is_whole`: the copy has all of it.
    """

    is_known: bool = False
    is_whole: bool = False
    _chunks: list[bytes] = field(default_factory=list, repr=False)
    _size: int = 0

    @classmethod
    def of(cls, content: bytes) -> "KeptBody":
        """The copy of a body that is there."""
        body = cls(is_known=True)
        body.add(content)
        body.end()
        return body

    @property
    def content(self) -> bytes | None:
        """What was kept; None without a body, or when it is not whole."""
        return (b"".join(self._chunks) or None) if self.is_whole else None

    def begin(self) -> None:
        """It is sent from its beginning, for the first time or again."""
        self._chunks.clear()
        self._size, self.is_whole = 0, False

    def add(self, chunk: bytes) -> None:
        """Keep the next part, as long as all of it can be kept."""
        self._size += len(chunk)
        if self._size <= MAX_BODY_BYTES:
            self._chunks.append(chunk)
        else:
            self._chunks.clear()

    def end(self) -> None:
        """That was all of it."""
        self.is_whole = self._size <= MAX_BODY_BYTES


@dataclass(frozen=True)
class Beginning:
    """The beginning of an answer's body, as it came.

    `rest` gives what follows, None when that was all of it.
    """

    raw: bytes
    rest: Any = None
