"""Texts that prove who calls: `autopay_tok_` and `autopay_web_`, an id, a secret and a checksum.

The prefix and the checksum let scanners of secrets recognise one that was published: `autopay_tok_[0-9A-Za-z]{71}`. The
id finds its row, so that only the secret is compared, in constant time. The ledger keeps the secret's SHA-256: it is
random, so that no slow hash is needed.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from enum import StrEnum
from typing import NamedTuple, Self
from uuid import UUID

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_BYTES = 32
_ID_CHARS, _SECRET_CHARS, _CHECK_CHARS = 22, 43, 6
_TEXT = re.compile(rf"(autopay_(?:tok|web)_)([0-9A-Za-z]{{{_ID_CHARS + _SECRET_CHARS + _CHECK_CHARS}}})", re.ASCII)


class Kind(StrEnum):
    """What a text is, by its prefix."""

    TOKEN = "autopay_tok_"  # noqa: S105 - a prefix
    """A token of the API, made by `token make`."""
    LOGIN = "autopay_web_"
    """The cookie of a browser that has logged in."""


class SecretText(NamedTuple):
    """A secret and the row that it belongs to."""

    kind: Kind
    row_id: UUID
    secret: bytes

    @classmethod
    def new(cls, kind: Kind, row_id: UUID) -> Self:
        """A new secret for that row."""
        return cls(kind, row_id, secrets.token_bytes(SECRET_BYTES))

    @classmethod
    def parse(cls, kind: Kind, text: str) -> Self | None:
        """What `dump` wrote; None for any other text, and for one that is damaged."""
        match = _TEXT.fullmatch(text)
        if match is None or match[1] != kind:
            return None
        body, check = match[2][:-_CHECK_CHARS], match[2][-_CHECK_CHARS:]
        row_id, secret = _number(body[:_ID_CHARS]), _number(body[_ID_CHARS:])
        if check != _checksum(match[1] + body) or row_id >= 1 << 128 or secret >= 1 << 8 * SECRET_BYTES:
            return None
        return cls(kind, UUID(int=row_id), secret.to_bytes(SECRET_BYTES, "big"))

    def dump(self) -> str:
        """The text; whoever has it is its owner."""
        body = _digits(self.row_id.int, _ID_CHARS) + _digits(int.from_bytes(self.secret, "big"), _SECRET_CHARS)
        return self.kind + body + _checksum(self.kind + body)

    @property
    def hash(self) -> bytes:
        """What the ledger keeps of the secret."""
        return hashlib.sha256(self.secret).digest()

    def has_hash(self, kept: bytes) -> bool:
        """Whether the ledger's hash is of this secret; takes as long for every wrong one."""
        return hmac.compare_digest(self.hash, kept)


def _checksum(text: str) -> str:
    return _digits(zlib.crc32(text.encode()), _CHECK_CHARS)


def _digits(number: int, width: int) -> str:
    found = ""
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        found = _DIGITS[digit] + found
    return found


def _number(text: str) -> int:
    number = 0
    for char in text:
        number = number * len(_DIGITS) + _DIGITS.index(char)
    return number
