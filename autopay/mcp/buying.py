"""Buys for one tool call: hands the request to the agent, tells what it waits for, and has a person asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp.shared.exceptions import MCPError

from autopay.client.errors import NotBought
from autopay.mcp.answers import purchase_answer, purchase_result, waiting
from autopay.mcp.decisions import (
    Question,
    answer_brought,
    ask_in_call,
    asks_by_result,
    can_ask,
    decide,
    question_before,
    question_result,
)

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context
    from mcp_types import CallToolResult, InputRequiredResult

    from autopay.client.async_client import AsyncClient
    from autopay.client.values import Purchase
    from autopay.domain.policy.records import ApprovalRecord
    from autopay.mcp.calls import Call

TELL_S = 5.0
"""The client hears at least this often that the call goes on: many give up on a silent one."""

MOST_QUESTIONS = 3
"""In one call: a seller that changes its terms each time does not keep a person busy for ever."""


class _PersonAsked(Exception):
    """Ends the wait for a request that waits for a person."""

    def __init__(self, approval: ApprovalRecord) -> None:
        super().__init__()
        self.approval = approval


async def buy(
    ctx: Context[Any, Any], client: AsyncClient, call: Call, wait_s: float, *, may_ask: bool
) -> CallToolResult | InputRequiredResult:
    """Buy it, or go on with what that id began; the result names the id in any case.

    Args:
        may_ask: whether a person may decide in the client's dialog.

    Raises:
        AutopayError: see `AsyncClient.fetch`.
    """
    note = await _take_answer(ctx, client, call) if may_ask else None
    for _ in range(MOST_QUESTIONS):
        async with _progress(ctx, wait_s) as tell:
            found = await _fetch(client, call, wait_s, tell)
        if not isinstance(found, _PersonAsked):
            return purchase_result(found, purchase_answer(found, note=note))
        approval = found.approval
        if not may_ask or not can_ask(ctx) or _was_closed(ctx, approval):
            break
        if asks_by_result(ctx):
            return question_result(Question.about(call.id, approval), approval)
        async with _progress(ctx, wait_s) as tell:
            tell("waits for a person to answer the client's question")
            approve = await ask_in_call(ctx, client, approval)
        if approve is None and await _is_pending(client, approval):
            break
        if approve is not None:
            note = await decide(client, Question.about(call.id, approval), approve=approve)
    purchase = waiting(client.agent, call.id, approval)
    return purchase_result(purchase, purchase_answer(purchase, approval, note=note))


async def _take_answer(ctx: Context[Any, Any], client: AsyncClient, call: Call) -> str | None:
    """Send the decision that this call brings, to the request that the question was about."""
    question, approve = question_before(ctx), answer_brought(ctx)
    if question is None or approve is None or question.request_id != call.id:
        return None
    return await decide(client, question, approve=approve)


def _was_closed(ctx: Context[Any, Any], approval: ApprovalRecord) -> bool:
    """Whether the person has seen this very question in this call, and closed it without an answer."""
    question = question_before(ctx)
    return question is not None and question.approval_id == str(approval.approval_id) and answer_brought(ctx) is None


async def _is_pending(client: AsyncClient, approval: ApprovalRecord) -> bool:
    return any(each.approval_id == approval.approval_id for each in await client.approvals())


async def _fetch(
    client: AsyncClient, call: Call, wait_s: float, tell: Callable[[str], None]
) -> Purchase | _PersonAsked:
    """How the purchase stands, or the question to a person that it waits for, as soon as there is one."""

    def stop_waiting(approval: ApprovalRecord) -> None:
        raise _PersonAsked(approval)  # through the wait: the request itself goes on

    try:
        return await client.fetch(
            call.url,
            id=call.id,
            method=call.method,
            headers=call.headers,
            content=call.content,
            max_price=call.max_price,
            timeout=wait_s,
            on_approval=stop_waiting,
            on_progress=tell,
        )
    except NotBought as unbought:
        return unbought.purchase
    except _PersonAsked as asked:
        return asked


@asynccontextmanager
async def _progress(ctx: Context[Any, Any], wait_s: float) -> AsyncIterator[Callable[[str], None]]:
    """What takes sentences about what is waited for, and tells the client; what it said last again and again."""
    began, said, changed = time.monotonic(), ["the agent has the request"], asyncio.Event()

    def tell(text: str) -> None:
        said[0] = text
        changed.set()

    async def report() -> None:
        while True:
            try:
                async with asyncio.timeout(TELL_S):
                    await changed.wait()
            except TimeoutError:
                pass
            changed.clear()
            spent_s = time.monotonic() - began
            try:
                await ctx.report_progress(spent_s, max(wait_s, spent_s), said[0])
            except (MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError):
                return  # the client has gone; the request goes on without it

    reporting = asyncio.create_task(report())
    try:
        yield tell
    finally:
        reporting.cancel()
