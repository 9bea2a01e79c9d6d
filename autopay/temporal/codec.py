"""Seals every Temporal payload: inputs, results, failures, summaries, details, memos and query answers.

AES-256-GCM over what compact.py made small, with a key of its own, derived from the keyring's, so that a program that
has only this key (the codec server) cannot open what the vault seals. Payloads that are not sealed are read as they
are: a signal that somebody sends by hand in clear text still works. Sealing gives confidentiality, not authentication:
whoever may write to Temporal can send messages to workflows in any case.

What cannot be opened is marked, and the converter (converter.py) refuses it where its value is needed. Raising here
would fail the workflow task, at every retry, for one message that anybody can send.

What must not live here: search attributes and workflow ids, which Temporal itself must read and which are never
sealed.
"""

import os
from collections.abc import Awaitable, Callable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec, SerializationContext, WithSerializationContext

from autopay.adapters.vault import NONCE_BYTES, Keyring
from autopay.domain.errors import SecretUnreadable, TransientFault
from autopay.temporal.compact import compact, expand
from autopay.temporal.nexus.boundary import is_for_callers, is_in_clear

ENCODING = b"binary/encrypted"
NULL = Payload(metadata={"encoding": b"binary/null"})
"""No value at all, which is nothing to hide."""

KEY_ID = "encryption-key-id"
"""The name that Temporal's own samples give the key's version."""

PURPOSE = "temporal-payload"


MARKED = b"autopay/unreadable"
"""The encoding of a payload that could not be opened; its metadata say why, and it has no data."""

WHY = "why"


MAX_VERSION_DIGITS = 6


class KeyringOutdated(TransientFault):
    """This worker's keyring is an older copy: stop it, and start it with the present AUTOPAY_KEYRING."""


class SealedPayloads(PayloadCodec, WithSerializationContext):
    """The codec over a keyring: the newest key seals, any of its keys opens.

    What callers of the Nexus service are to read is not sealed: see nexus/boundary.py.

    Args:
        knows: tells whether the ledger has ever used a key version; None where a newer key need not be waited for.
    """

    def __init__(self, keyring: Keyring, knows: Callable[[int], Awaitable[bool]] | None = None) -> None:
        self._keyring = keyring
        self._knows = knows
        self._ciphers: dict[int, AESGCM] = {}
        self._is_for_callers = False

    def with_context(self, context: SerializationContext) -> "SealedPayloads":
        """This codec; one that does not seal, for what callers of the Nexus service read."""
        if not is_for_callers(context):
            return self
        in_clear = SealedPayloads(self._keyring, self._knows)
        in_clear._ciphers, in_clear._is_for_callers = self._ciphers, True
        return in_clear

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Seal each that has a value, with the newest key, unless a caller without keys is to read it."""
        if self._is_for_callers:
            return list(payloads)
        return [payload if payload == NULL or is_in_clear(payload) else self._sealed(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Open what is sealed, mark what cannot be opened (`why_marked`), and pass the rest through.

        Raises:
            KeyringOutdated: a payload names a newer key that the ledger knows (`knows`).
        """
        for payload in payloads:
            await self._refuse_newer(payload)
        return [self._opened(payload) for payload in payloads]

    async def _refuse_newer(self, payload: Payload) -> None:
        """A payload sealed with a newer key of this ledger waits for a worker that has it: marked, it would be lost."""
        named = payload.metadata.get(KEY_ID, b"") if payload.metadata.get("encoding") == ENCODING else b""
        if self._knows is None or not named.isdigit() or len(named) > MAX_VERSION_DIGITS:
            return
        if (version := int(named)) > self._keyring.newest and await self._knows(version):
            raise KeyringOutdated(f"it lacks key version {version}")

    def is_newest(self, payload: Payload) -> bool:
        """Whether the newest key sealed it."""
        return payload.metadata.get(KEY_ID) == str(self._keyring.newest).encode()

    def _sealed(self, payload: Payload) -> Payload:
        version, nonce = self._keyring.newest, os.urandom(NONCE_BYTES)
        sealed = self._cipher(version).encrypt(nonce, compact(payload.SerializeToString()), _bound_to(version))
        return Payload(metadata={"encoding": ENCODING, KEY_ID: str(version).encode()}, data=nonce + sealed)

    def _opened(self, payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        named = payload.metadata.get(KEY_ID, b"").decode(errors="replace")
        try:
            version, raw = int(named), payload.data
            opened = self._cipher(version).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(version))
        except (ValueError, InvalidTag, SecretUnreadable):
            return marked(
                f"key version {named[:20]!r} is not in this keyring or did not encrypt it; check AUTOPAY_KEYRING"
            )
        try:
            return Payload.FromString(expand(opened))
        except (ValueError, DecodeError) as error:
            return marked(f"it is damaged, or of a newer release: {error}")

    def _cipher(self, version: int) -> AESGCM:
        if version not in self._ciphers:
            self._ciphers[version] = AESGCM(self._keyring.subkey(version, PURPOSE))
        return self._ciphers[version]


def _bound_to(version: int) -> bytes:
    return f"autopay/{version}/{PURPOSE}".encode()


def marked(why: str) -> Payload:
    """A payload that stands for one that cannot be opened."""
    return Payload(metadata={"encoding": MARKED, WHY: why.encode()})


def why_marked(payload: Payload) -> str | None:
    """Why the payload could not be opened; None if it was."""
    is_marked = payload.metadata.get("encoding") == MARKED
    return payload.metadata.get(WHY, b"").decode(errors="replace") if is_marked else None
