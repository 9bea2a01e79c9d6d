"""The service's handler in Autopay's worker: starts `Fetch` for each operation, and reads stored content."""

import base64
import hashlib
from typing import Protocol

import nexusrpc
from temporalio import nexus
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy

from autopay.domain.errors import ContentPruned, TransientFault, UnknownRequest
from autopay.domain.request import is_request_id, x402_request_id
from autopay.domain.text.hosts import check_url, host_of
from autopay.temporal.attributes import ENDPOINT as HOST
from autopay.temporal.nexus.boundary import FailureInClear
from autopay.temporal.nexus.contract import (
    ASK_WORKFLOW,
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
        named = FetchInput(**{**vars(wanted), "id": wanted.id or _id_of(ctx)})
        return await ctx.start_workflow(
            WORKFLOW,
            named,
            id=_workflow_id(named, ctx),
            result_type=Fetched,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=_attributes(named),
            static_summary=_summary(named),
        )

    @nexus.workflow_run_operation
    async def ask(self, ctx: nexus.WorkflowRunOperationContext, wanted: Question) -> nexus.WorkflowHandle[Answer]:
        """The same for a language model: what goes wrong is told, and fails nothing."""
        headers = None if wanted.body is None else {"Content-Type": "application/json"}
        order = FetchInput(
            url=wanted.url, max_price=wanted.max_price, content=wanted.body, headers=headers, id=_id_of(ctx)
        )
        return await ctx.start_workflow(
            ASK_WORKFLOW,
            order,
            id=_workflow_id(order, ctx),
            result_type=Answer,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=_attributes(order),
            static_summary=_summary(order),
        )

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


def _workflow_id(wanted: FetchInput, ctx: nexusrpc.handler.StartOperationContext) -> str:
    """Of this operation alone: two callers with the same id wait each for themselves, whatever their terms."""
    try:
        check_url(wanted.url)
    except ValueError as error:
        raise _bad("not fetched") from FailureInClear(INVALID, str(error))
    if wanted.id is None or not is_request_id(wanted.id):
        message = f"{ascii(wanted.id)[:100]} is not an id: up to 120 letters, digits and '._:@-'"
        raise _bad("not fetched") from FailureInClear(INVALID, message)
    return f"{WORKFLOW_PREFIX}{wanted.id}/{_digest(ctx)[:8]}"


def _attributes(wanted: FetchInput) -> TypedSearchAttributes:
    return TypedSearchAttributes([SearchAttributePair(HOST, host_of(wanted.url))])


def _summary(wanted: FetchInput) -> str:
    price = f", at most {wanted.max_price} {wanted.currency or ''}".rstrip() if wanted.max_price else ""
    return f"fetch from {host_of(wanted.url)}{price}, for another workflow"[:200]
