"""The service's handler in Autopay's worker: starts `Fetch` for each operation, and reads stored content."""

import base64
import hashlib
from dataclasses import replace
from typing import Protocol, TypeVar

import nexusrpc
from temporalio import nexus
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy

from autopay.domain.errors import ContentPruned, TransientFault, UnknownRequest
from autopay.domain.request import is_request_id, x402_request_id
from autopay.domain.text.hosts import check_url, host_of, origin
from autopay.temporal.attributes import ENDPOINT as HOST
from autopay.temporal.nexus.boundary import FailureInClear
from autopay.temporal.nexus.contract import (
    GET_DATA_WORKFLOW,
    INVALID,
    MAX_PART_BYTES,
    WORKFLOW,
    WORKFLOW_PREFIX,
    Answer,
    AutopayService,
    Fetched,
    FetchInput,
    Part,
    Question,
    ReadInput,
)

T = TypeVar("T")

UNKNOWN_CONTENT = "unknown_content"
"""The stable name of the failure when no such content is there."""


class StoredParts(Protocol):
    """Content in the ledger. Raises LedgerUnavailable, UnknownRequest or ContentPruned."""

    async def content_part(self, request_key: str, sha256: str, offset: int, length: int) -> bytes | None:
        """A part of what was delivered; None when nothing with that SHA-256 (in hex) was."""
        ...


@nexusrpc.handler.service_handler(service=AutopayService)
class AutopayHandler:
    """Implements the Nexus service."""

    def __init__(self, contents: StoredParts) -> None:
        self._contents = contents

    @nexus.workflow_run_operation
    async def fetch(self, ctx: nexus.WorkflowRunOperationContext, wanted: FetchInput) -> nexus.WorkflowHandle[Fetched]:
        """Buy it or find it; asked again with the same Nexus request id, the same workflow goes on."""
        named = replace(wanted, id=wanted.id or _id_of(ctx))
        try:
            check_url(named.url)
        except ValueError as error:
            raise _bad("not fetched") from FailureInClear(INVALID, str(error))
        if named.id is None or not is_request_id(named.id):
            message = f"{ascii(named.id)[:100]} is not an id: up to 120 letters, digits and '._:@-'"
            raise _bad("not fetched") from FailureInClear(INVALID, message)
        return await _started(ctx, WORKFLOW, named, Fetched)

    @nexus.workflow_run_operation
    async def get_data(self, ctx: nexus.WorkflowRunOperationContext, wanted: Question) -> nexus.WorkflowHandle[Answer]:
        """The same for a language model: what goes wrong is told, and fails nothing."""
        headers = None if wanted.body is None else {"Content-Type": "application/json"}
        named = FetchInput(
            url=wanted.url, max_price=wanted.max_price, content=wanted.body, headers=headers, id=_id_of(ctx)
        )
        return await _started(ctx, GET_DATA_WORKFLOW, named, Answer)

    @nexusrpc.handler.sync_operation
    async def read(self, _ctx: nexusrpc.handler.StartOperationContext, wanted: ReadInput) -> Part:
        """A part of content that was fetched; whoever knows its SHA-256 has fetched it."""
        if wanted.offset < 0:
            raise _bad("not read") from FailureInClear(INVALID, "the offset is below 0")
        key = x402_request_id(wanted.agent, wanted.id)
        try:
            part = await self._contents.content_part(key, wanted.sha256, wanted.offset, MAX_PART_BYTES + 1)
        except UnknownRequest:
            part = None
        except ContentPruned as gone:
            raise _bad("not read") from FailureInClear("content_pruned", str(gone))
        except TransientFault:
            message = "the ledger does not answer"
            raise nexusrpc.HandlerError(message, type=nexusrpc.HandlerErrorType.UNAVAILABLE) from None
        if part is None:
            message = f"{wanted.id!r} of agent {wanted.agent!r} has no such content"
            raise _bad("not read") from FailureInClear(UNKNOWN_CONTENT, message)
        more = len(part) > MAX_PART_BYTES
        encoded = base64.b64encode(part[:MAX_PART_BYTES]).decode()
        return Part(content_base64=encoded, next_offset=wanted.offset + MAX_PART_BYTES if more else None)


def _bad(message: str) -> nexusrpc.HandlerError:
    return nexusrpc.HandlerError(message, type=nexusrpc.HandlerErrorType.BAD_REQUEST, retryable_override=False)


def _id_of(ctx: nexusrpc.handler.StartOperationContext) -> str:
    """An id for a caller that names none: Temporal sends the same request id when it tries an operation again."""
    return f"nexus-{_digest(ctx)}"


def _digest(ctx: nexusrpc.handler.StartOperationContext) -> str:
    return hashlib.sha256(ctx.request_id.encode()).hexdigest()[:24]


async def _started(
    ctx: nexus.WorkflowRunOperationContext, name: str, wanted: FetchInput, result: type[T]
) -> nexus.WorkflowHandle[T]:
    """The workflow of this operation alone: two callers with one id wait each for themselves, whatever their terms."""
    host = host_of(wanted.url) if origin(wanted.url) is not None else "no host"
    price = f", at most {wanted.max_price} {wanted.currency or ''}".rstrip() if wanted.max_price else ""
    return await ctx.start_workflow(
        name,
        wanted,
        id=f"{WORKFLOW_PREFIX}{wanted.id}/{_digest(ctx)[:8]}",
        result_type=result,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=TypedSearchAttributes([SearchAttributePair(HOST, host)]),
        static_summary=f"fetch from {host}{price}, for another workflow"[:200],
    )
