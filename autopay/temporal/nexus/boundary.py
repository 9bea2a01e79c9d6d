"""How Autopay's own converter lets values cross to callers, who do not have our keyring.

What a caller sends to the service is read as it comes, what it gets is not sealed:

| what crosses | encoded by | not sealed, because |
|---|---|---|
| input of an operation, of a child workflow | the caller | the codec passes on what is not sealed |
| result of a synchronous operation, failure of a start | our worker, with a Nexus context | `is_for_callers` |
| result and failure of the workflow `Fetch` | our worker, without a Nexus context | `in_clear`, `FailureInClear` |

Everything else stays sealed, also the input of `Fetch`, with the caller's headers, in our own history. A caller whose
own codec or converter makes something that we cannot read is refused before anything is asked of an agent.
"""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import nexusrpc
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import NexusSerializationContext, SerializationContext
from temporalio.exceptions import ApplicationError

from autopay.temporal.nexus.contract import SERVICE

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

IN_CLEAR = "autopay-in-clear"
"""Metadata of a payload that the codec leaves as it is. Only our own workflows make such payloads."""

UNREADABLE = "payload_unreadable"
"""The stable name of the failure when what was sent cannot be read."""

INTERNAL = "internal"
"""The stable name of every failure that callers are told nothing about."""

HOW_TO_BE_READ = (
    "what was sent to Autopay cannot be read: it has to be JSON, and not be encrypted with a key of your own; "
    "give the plugin of autopay.temporal to your client"
)


def in_clear(value: "DataclassInstance") -> RawValue:
    """The value as JSON that is not sealed, for a workflow to return."""
    data = json.dumps(asdict(value), ensure_ascii=False).encode()
    return RawValue(Payload(metadata={"encoding": b"json/plain", IN_CLEAR: b"1"}, data=data))


def is_in_clear(payload: Payload) -> bool:
    """Whether `in_clear` made it."""
    return IN_CLEAR in payload.metadata


class FailureInClear(ApplicationError):
    """How a workflow fails when its caller is to read why: type, message and details are not sealed."""

    def __init__(self, name: str, message: str, *details: "DataclassInstance", retryable: bool = False) -> None:
        super().__init__(message, *map(in_clear, details), type=name, non_retryable=not retryable)
        self.name = name


def is_for_callers(context: SerializationContext) -> bool:
    """Whether what is encoded in that context is read by callers of the service."""
    return isinstance(context, NexusSerializationContext) and context.service == SERVICE


def for_callers(error: BaseException, unreadable: type[Exception]) -> BaseException:
    """What a caller is told of an error in an operation: its name, and nothing of our insides.

    Whatever we did not mean for callers becomes `internal`, without its text and stack. `unreadable` is what the
    converter raises for input that it cannot read.
    """
    if not isinstance(error, nexusrpc.HandlerError):
        return error
    told = nexusrpc.HandlerError(error.message, type=error.type, retryable_override=error.retryable_override)
    cause = error.__cause__
    if isinstance(cause, unreadable):
        told.__cause__ = FailureInClear(UNREADABLE, HOW_TO_BE_READ)
    elif isinstance(cause, FailureInClear):
        told.__cause__ = FailureInClear(cause.name, cause.message, retryable=not cause.non_retryable)
    elif cause is not None:
        told.__cause__ = ApplicationError("it failed inside of Autopay: the log of its worker says why", type=INTERNAL)
    return told
