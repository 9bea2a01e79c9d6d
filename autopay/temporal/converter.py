"""How values travel through Temporal: pydantic models as JSON, sealed by the codec. A payload that cannot be read is
reported by a fault with a stable name.

A payload is unreadable when it was sealed with another keyring, was damaged, has an unknown encoding, or is not of the
type that its reader wants. Then a handler whose parameter type allows it (`| Unreadable`) gets `Unreadable`; for every
other reader `PayloadUnreadable` is raised: an update is rejected, a query answered with an error. When a workflow
itself needs the value (its input, the result of a step), its workflow task fails and is retried until a worker can
read it. Temporal's UI shows that failure with its name.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import reduce
from itertools import repeat
from operator import or_
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.common import RawValue
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverter,
    DefaultFailureConverterWithEncodedAttributes,
    FailureConverter,
    PayloadConverter,
    SerializationContext,
    WithSerializationContext,
)
from temporalio.exceptions import ApplicationError

from autopay.adapters.vault import Keyring
from autopay.domain.errors import TransientFault
from autopay.domain.unreadable import MAX_WHY_LENGTH, Unreadable
from autopay.temporal.codec import SealedPayloads, marked, why_marked
from autopay.temporal.nexus.boundary import UNREADABLE, FailureInClear, for_callers, is_for_callers

JSON = b"json/plain"
"""The only encoding whose converter validates the type."""

STORED_ELSEWHERE = "__temporal_external_storage_reference"
"""Metadata of a payload whose data is in external storage, of which there is none here."""


class PayloadUnreadable(TransientFault):
    """A payload of Temporal cannot be read.

    Transient, as the right keyring solves it: a workflow waits for that, and no payment is given up because of it.
    """


_PARTS = tuple(PydanticPayloadConverter().converters.values())


class ReadingConverter(PydanticPayloadConverter):
    """Pydantic's converter. Every error in reading becomes `PayloadUnreadable`, which never quotes what was sent."""

    def __init__(self) -> None:
        """The SDK makes one for every task: they share their parts, and with them the cache of how types are read."""
        self._set_converters(*_PARTS)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """The values, each of the type that is wanted.

        Raises:
            PayloadUnreadable: one cannot be read, and its type is known and does not allow `Unreadable`.
        """
        hints: Sequence[Any] = type_hints if type_hints and len(type_hints) == len(payloads) else []
        return [self._read(payload, hint) for payload, hint in zip(payloads, hints or repeat(None), strict=False)]

    def _read(self, payload: Payload, hint: Any) -> Any:
        wanted, takes_unreadable = _without_unreadable(hint)
        try:
            if (why := why_marked(payload)) is None:
                (value,) = super().from_payloads([payload], None if wanted is None else [wanted])
                if wanted in (None, RawValue) or payload.metadata["encoding"] == JSON:
                    return value
                # A null and bytes come back as such, whatever is wanted.
                return None if (value, wanted) == (None, NoneType) else TypeAdapter(wanted).validate_python(value)
        except Exception as error:
            why = _described(error)
        if takes_unreadable:
            return Unreadable(why[:MAX_WHY_LENGTH])
        raise PayloadUnreadable(why[:MAX_WHY_LENGTH])


def _without_unreadable(hint: Any) -> tuple[Any, bool]:
    """The type that is wanted, and whether `Unreadable` may be returned instead: also when no type is known.

    The SDK asks without types for the details of failures, and for messages with too many or too few values.
    """
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    if Unreadable not in parts:
        return hint, hint is None
    return reduce(or_, (each for each in parts if each is not Unreadable)), True


def _described(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else "it is damaged"
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


class NamedFailures(DefaultFailureConverterWithEncodedAttributes, WithSerializationContext):
    """Seals messages and stack traces of failures, and gives the SDK's error for an unreadable payload its name.

    Failures that callers of the Nexus service are to read are not sealed: see nexus/boundary.py.
    """

    def with_context(self, context: SerializationContext) -> FailureConverter:  # type: ignore[override]
        """This converter; another one for what callers of the Nexus service read."""
        return _FAILURES_FOR_CALLERS if is_for_callers(context) else self

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """See base class."""
        if isinstance(exception, FailureInClear):
            _FAILURES_IN_CLEAR.to_failure(_without_stack(exception), payload_converter, failure)
            return
        cause = exception.__cause__
        if isinstance(exception, RuntimeError) and isinstance(cause, PayloadUnreadable):
            exception = ApplicationError(str(cause), type=UNREADABLE, non_retryable=True)
        super().to_failure(exception, payload_converter, failure)


class FailuresForCallers(DefaultFailureConverter):
    """Failures of Nexus operations as callers read them: not sealed, and without our insides."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """See base class."""
        super().to_failure(for_callers(exception, PayloadUnreadable), payload_converter, failure)


_FAILURES_FOR_CALLERS = FailuresForCallers()
_FAILURES_IN_CLEAR = DefaultFailureConverter()


def _without_stack(exception: FailureInClear) -> FailureInClear:
    exception.__cause__ = None
    return exception.with_traceback(None)


class SealedDataConverter(DataConverter):
    """A data converter for which references to external storage are unreadable payloads.

    The SDK raises for these before any codec is asked, which would fail the workflow's task for ever.
    """

    async def _decode_reference_payload_sequence(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            marked("it names external storage") if _is_stored_elsewhere(payload) else payload for payload in payloads
        ]


def _is_stored_elsewhere(payload: Payload) -> bool:
    encoding, kind = payload.metadata.get("encoding", b""), payload.metadata.get("messageType", b"")
    is_reference = encoding == b"json/external-storage-reference" or b"ExternalStorageReference" in kind
    return is_reference or STORED_ELSEWHERE in payload.metadata


def data_converter(keyring: Keyring, knows: Callable[[int], Awaitable[bool]] | None = None) -> DataConverter:
    """How values travel: pydantic models as JSON, sealed; so are the texts and stack traces of failures."""
    return SealedDataConverter(
        payload_converter_class=ReadingConverter,
        payload_codec=SealedPayloads(keyring, knows),
        failure_converter_class=NamedFailures,
    )
