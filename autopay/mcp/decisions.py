"""A person's decision about a payment, by the client's dialog (elicitation), bound to the exact terms.

Who answers is the client's word: a program that accepts by itself is not told apart from a person. Whoever does not
trust the client starts the server with `--no-elicitation`.

The question has no side effects, and may be asked twice: the payment waits in the ledger whatever becomes of it. An
answer counts for the approval that was asked about only, and only while it has the hash of the terms that were shown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from mcp.shared.exceptions import MCPError, NoBackChannelError
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
)
from mcp_types.version import is_version_at_least
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autopay.client.errors import AutopayError, NotDecided, NotDecidedYet
from autopay.mcp.answers import terms_text

if TYPE_CHECKING:
    from mcp.server.mcpserver import Context

    from autopay.client.async_client import AsyncClient
    from autopay.domain.policy.records import ApprovalRecord

ASKED = "approval"
"""The name of the question among the inputs that a result requires."""

LOOK_S = 2.0
"""How often the ledger is asked whether somebody decided elsewhere while the dialog is open."""

_IN_RESULT = "2026-07-28"
"""From this protocol version on there are no sessions: a question is a result, and the client calls again with the
answer."""


class Answer(BaseModel):
    """What the dialog asks for: nothing is decided by leaving it out, so an empty form approves nothing."""

    model_config = ConfigDict(extra="forbid", strict=True)

    approve: bool = Field(title="Pay it?", description="Yes pays exactly these terms, once. No refuses the request.")


@dataclass(frozen=True)
class Question:
    """The question that was asked: about which request, and about which terms."""

    request_id: str
    approval_id: str
    terms_hash: str

    @classmethod
    def about(cls, request_id: str, approval: ApprovalRecord) -> Question:
        """The question of that approval."""
        return cls(request_id, str(approval.approval_id), approval.terms_hash)


def can_ask(ctx: Context[Any, Any]) -> bool:
    """Whether the client can show a form to a person, in this call."""
    capabilities = ctx.client_capabilities
    asks = capabilities.elicitation if capabilities is not None else None
    if asks is None or (asks.form is None and asks.url is not None):
        return False
    return asks_by_result(ctx) or ctx.session.can_send_request


def asks_by_result(ctx: Context[Any, Any]) -> bool:
    """Whether the question is the call's result, to be answered by a second call."""
    return ctx.protocol_version is not None and is_version_at_least(ctx.protocol_version, _IN_RESULT)


def question_result(question: Question, approval: ApprovalRecord) -> InputRequiredResult:
    """The question as a result. Its state is sealed by the SDK, and bound to this tool and these arguments."""
    form = ElicitRequestFormParams(message=terms_text(approval), requested_schema=_form())
    return InputRequiredResult(
        input_requests={ASKED: ElicitRequest(params=form)}, request_state=json.dumps(vars(question))
    )


def question_before(ctx: Context[Any, Any]) -> Question | None:
    """The question that this call brings the answer to; None: it is a first call."""
    if ctx.request_state is None:
        return None
    return Question(**json.loads(ctx.request_state))


def answer_brought(ctx: Context[Any, Any]) -> bool | None:
    """The answer that this call brings: to approve, to deny, or None when the person only closed the dialog."""
    given = (ctx.input_responses or {}).get(ASKED)
    return _decision(given) if isinstance(given, ElicitResult) else None


async def ask_in_call(ctx: Context[Any, Any], client: AsyncClient, approval: ApprovalRecord) -> bool | None:
    """Ask now and wait for the answer, or until the payment no longer waits for it; None when nobody decided here."""
    found: list[bool | None] = []
    failed: list[AutopayError] = []

    async def ask() -> None:
        try:
            given = await ctx.session.elicit_form(terms_text(approval), _form(), ctx.request_id)
        except (MCPError, NoBackChannelError, ValidationError):  # the client cannot after all, or answers nonsense
            found.append(None)
        else:
            found.append(_decision(given))
        group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        try:
            while await _still_waits(client, approval):  # noqa: ASYNC110 - what changes is in the ledger
                await anyio.sleep(LOOK_S)
        except AutopayError as error:  # raised within the group, it would arrive as a group of errors
            failed.append(error)
        group.cancel_scope.cancel()
    if failed:
        raise failed[0]
    return found[0] if found else None


async def decide(client: AsyncClient, question: Question, *, approve: bool) -> str | None:
    """Send the decision to the payment, if it still waits for exactly these terms; what stood against it, in words.

    Raises:
        AutopayError: the ledger or the payment does not answer.
    """
    for each in await client.approvals():
        if str(each.approval_id) == question.approval_id and each.terms_hash == question.terms_hash:
            try:
                await (client.approve if approve else client.deny)(each.approval_id)
            except (NotDecided, NotDecidedYet) as error:
                return f"The person's decision was not taken: {error}."
            return None
    return "The person's decision was not needed any more: the payment no longer waits for these terms."


async def _still_waits(client: AsyncClient, approval: ApprovalRecord) -> bool:
    return any(each.approval_id == approval.approval_id for each in await client.approvals())


def _decision(given: ElicitResult) -> bool | None:
    """To decline is to deny; to close the dialog, or to send something else than the form, decides nothing."""
    if given.action == "decline":
        return False
    if given.action != "accept":
        return None
    try:
        return Answer.model_validate(given.content).approve
    except ValidationError:
        return None


def _form() -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "approve": {
                "type": "boolean",
                "title": Answer.model_fields["approve"].title,
                "description": Answer.model_fields["approve"].description,
            }
        },
        "required": ["approve"],
    }
