"""Seals secrets with AES-256-GCM (NIST SP 800-38D), bound to the row and purpose that they are for.

What must not live here: what is sealed, and where it is stored.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from autopay.domain.errors import SecretUnreadable
from autopay.domain.text.command_line import command_line

KEY_BYTES = 32
NONCE_BYTES = 12  # 96 bits, random per secret: SP 800-38D section 8.2.2

WHICH_KEYRING = (
    "use the keyring of the workers of this ledger (AUTOPAY_KEYRING_FILE or AUTOPAY_KEYRING, or AUTOPAY_HOME of the "
    "stack)"
)
"""What a message proposes when a keyring is not the ledger's."""

ROOT = 0
"""The version that never seals: what is derived for all time, like memos, comes from it."""


class Keyring:
    """Versioned AES-256 keys; the newest seals, all of them open. Text form: `0:base64,1:base64,2:base64`.

    Version 0 is the root: it seals nothing, and what must stay the same while keys rotate is derived from it. So any
    other version may be dropped once nothing is sealed with it. A keyring without a root derives from its lowest
    version, which must then stay.
    """

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        if not keys or max(keys) == ROOT:
            raise ValueError("a keyring needs at least one key of version 1 or above, which seals")
        if min(keys) < ROOT:
            raise ValueError("a keyring's versions count from 1; 0 is its root")
        if any(len(key) != KEY_BYTES for key in keys.values()):
            raise ValueError(f"every key of a keyring has {KEY_BYTES} bytes")
        self._keys = dict(keys)

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Read the text form.

        Raises:
            ValueError: with what is wrong, and never with any part of a key.
        """
        keys: dict[int, bytes] = {}
        for part in text.strip().split(","):
            name, _, encoded = part.strip().partition(":")
            try:
                version, key = int(name), base64.b64decode(encoded, validate=True)
            except ValueError:
                raise ValueError("a keyring looks like '0:<base64 of 32 bytes>,1:<…>'") from None
            if version in keys:
                raise ValueError(f"the keyring has version {version} twice")
            keys[version] = key
        return cls(keys)

    @classmethod
    def generate(cls) -> "Keyring":
        """A new keyring: a root, and one key of version 1."""
        return cls({ROOT: os.urandom(KEY_BYTES), 1: os.urandom(KEY_BYTES)})

    def with_new_key(self) -> "Keyring":
        """The same keys and a new one, which seals from now on."""
        return Keyring(self._keys | {self.newest + 1: os.urandom(KEY_BYTES)})

    def dump(self) -> str:
        """The text form; a secret."""
        return ",".join(f"{version}:{base64.b64encode(key).decode()}" for version, key in sorted(self._keys.items()))

    @property
    def newest(self) -> int:
        """The version that seals."""
        return max(self._keys)

    @property
    def old(self) -> tuple[int, ...]:
        """Versions that only open, and may be dropped one day: all but the newest and the one that derives."""
        return tuple(sorted(set(self._keys) - {self.newest, min(self._keys)}))

    def key(self, version: int) -> bytes:
        """The key of that version.

        Raises:
            SecretUnreadable: the keyring does not have it, or it is the root.
        """
        if version == ROOT or version not in self._keys:
            raise SecretUnreadable(f"it was sealed with key version {version}, which the keyring does not have")
        return self._keys[version]

    def subkey(self, version: int, label: str) -> bytes:
        """32 bytes for another use, from the key of that version.

        Raises:
            SecretUnreadable: the keyring does not have it.
        """
        return hmac.digest(self.key(version), b"autopay/subkey/" + label.encode(), hashlib.sha256)

    def check_values(self) -> dict[int, str]:
        """What tells each key from another, by version, 32 hex digits: the ledger keeps these, and not the keys."""
        label = b"autopay/check-value"
        return {version: hmac.digest(key, label, hashlib.sha256)[:16].hex() for version, key in self._keys.items()}

    def derive(self, label: str) -> bytes:
        """32 bytes for another use, from the root: they stay the same while keys rotate."""
        return hmac.digest(self._keys[min(self._keys)], b"autopay/derive/" + label.encode(), hashlib.sha256)


def why_refused(known: Mapping[int, str], keyring: Mapping[int, str]) -> str | None:
    """Why the keyring is not the ledger's, and what to do; None if it is, or if the ledger knows none yet.

    Both are check values by version: see `Keyring.check_values`. The ledger has one of each version ever used with it.
    Versions that the ledger does not know are new ones, after a rotation; older ones may have been dropped. The lowest
    one must stay, as memos are derived from it, and the newest, as the present secrets are sealed with it.
    """
    if not known:
        return None
    others = [version for version, check in keyring.items() if known.get(version, check) != check]
    if others:
        said = f"AUTOPAY_KEYRING is another keyring than this ledger's: its key {_named(others)} differs"
        return f"{said}; {WHICH_KEYRING}{_if_lost(max(others))}"
    missing = [version for version in {min(known), max(known)} if version not in keyring]
    if missing:
        said = f"AUTOPAY_KEYRING lacks key {_named(missing)} of this ledger: it is another, or an older copy"
        return f"{said}; {WHICH_KEYRING}{_if_lost(max(missing))}"
    return None


def _if_lost(version: int) -> str:
    return f"; if key {version} is lost for good: {command_line('keyring', '--forget', version)}"


def _named(versions: list[int]) -> str:
    return " and ".join(str(version) for version in sorted(versions))


class Vault:
    """Implements the port `Vault` over a keyring; sealed text is `v{version}.{base64url(nonce + ciphertext)}`."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def seal(self, secret: bytes, *, purpose: str, row: str) -> str:
        """Encrypt `secret`; it opens only for the same purpose and row."""
        version, nonce = self._keyring.newest, os.urandom(NONCE_BYTES)
        sealed = AESGCM(self._keyring.key(version)).encrypt(nonce, secret, _bound_to(version, purpose, row))
        return self.newest_mark + base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, *, purpose: str, row: str) -> bytes:
        """Decrypt what `seal` made.

        Raises:
            SecretUnreadable: another key, purpose or row, or the text was changed.
        """
        head, _, body = sealed.partition(".")
        try:
            version, raw = int(head.removeprefix("v")), base64.urlsafe_b64decode(body)
            cipher = AESGCM(self._keyring.key(version))
            return cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(version, purpose, row))
        except (ValueError, InvalidTag):
            raise SecretUnreadable(f"{purpose} of {row}") from None

    @property
    def newest_mark(self) -> str:
        """How everything begins that the newest key seals."""
        return f"v{self._keyring.newest}."

    def reseal(self, sealed: str, *, purpose: str, row: str) -> str:
        """The same secret under the newest key.

        Raises:
            SecretUnreadable: see `open`.
        """
        return self.seal(self.open(sealed, purpose=purpose, row=row), purpose=purpose, row=row)

    def memo(self, agent: str, request_key: str, number: int) -> str:
        """The memo of an attempt, 32 hex digits: HMAC(agent's secret, request, attempt).

        A lost ledger's payments are recognised on chain by it, with the keyring and the names alone; nobody else can
        tell whose they are. The agent's name, not its id: a relaunched agent of a lost ledger has another id.
        """
        secret = self._keyring.derive(f"memo/{agent}")
        return hmac.new(secret, f"{request_key}/{number}".encode(), hashlib.sha256).hexdigest()[:32]


def _bound_to(version: int, purpose: str, row: str) -> bytes:
    return f"autopay/{version}/{purpose}/{row}".encode()
