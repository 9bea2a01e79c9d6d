"""`PurchaseStep`: buys for a caller's workflow what it wants, through an agent, and waits for the answer.

| crash | what follows |
|---|---|
| before the agent has taken the request | the activity runs again, and asks the same agent: nothing was bought |
| after it, before the activity has returned | it runs again and finds the request in the ledger: it waits on |
| the worker dies while it waits | its heartbeats end, another worker takes it over |
"""

import asyncio
import hashlib
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Annotated, Literal, Protocol

from pydantic import Field
from temporalio import activity

from autopay.adapters.answers import AnsweredRequests, AnswerWatch
from autopay.domain.errors import ContentPruned, UnknownRequest
from autopay.domain.money import units_text
from autopay.domain.payment.exchange import StoredContent
from autopay.domain.payment.ports import Sealer
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import (
    CLOSED,
    WITHOUT_CONTENT,
    RequestRecord,
    RequestResult,
    RequestSpec,
    RequestStatus,
    x402_request_id,
)
from autopay.domain.values import Value
from autopay.temporal.agent_requests import MAY_CHANGE, NotAccepted, ask_agent, cancel_request
from autopay.temporal.nexus.contract import INVALID, FailedFetch, Fetched, FetchInput
from autopay.temporal.nexus.order import extras_of, spec_of

HOLD = timedelta(seconds=60)
"""How long the activity waits for an answer; the workflow looks again after a timer then."""

HEARTBEAT_S = 3

NOT_ALLOWED = "agent_not_allowed"
"""The stable name of the reason when other people's workflows may not have that agent pay."""

PRUNED = "content_pruned"
"""The stable name of the reason when what was bought has been thrown away."""

DEFAULT_AGENT = "default"
"""Pays when neither the caller nor the operator names an agent."""


class PayerChosen(Value):
    """The caller has named no agent, and this one is to pay; it has not been asked yet.

    An activity that runs again may do so on a worker with other settings, and would ask another agent for the same: the
    workflow keeps the choice before anything is asked.
    """

    kind: Literal["payer"] = "payer"
    agent: str


class StillOpen(Value):
    """The agent has the request, and it has not been answered yet."""

    kind: Literal["open"] = "open"
    agent: str
    status: RequestStatus


class Obtained(Value):
    """The request has its content."""

    kind: Literal["obtained"] = "obtained"
    fetched: Fetched


class NotObtained(Value):
    """The request ended without content, or was not accepted; `retryable`: the same one may go better later."""

    kind: Literal["failed"] = "failed"
    type: str
    message: str
    retryable: bool = False
    request: FailedFetch | None = None


Purchase = Annotated[PayerChosen | StillOpen | Obtained | NotObtained, Field(discriminator="kind")]


class PurchaseRecords(AnsweredRequests, Protocol):
    """What the ledger knows of requests. Raises LedgerUnavailable, UnknownRequest or ContentPruned."""

    async def get(self, request_key: str) -> RequestRecord: ...
    async def content(self, request_key: str) -> StoredContent | None: ...
    async def answered_among(self, request_keys: Sequence[str]) -> Sequence[str]: ...


class PurchaseStep:
    """Buys for callers of the Nexus service and of the workflow `Fetch`.

    Args:
        requests: what the ledger knows.
        answers: waits for answers.
        vault: seals headers and bodies.
        agents: those that such callers may have pay, the first one by default; none: every agent.
        hold: how long an unanswered request is waited for.
    """

    def __init__(
        self,
        requests: PurchaseRecords,
        answers: AnswerWatch,
        vault: Sealer,
        agents: Collection[str] = (),
        hold: timedelta = HOLD,
    ) -> None:
        self._requests, self._answers, self._vault = requests, answers, vault
        self._agents, self._hold_s = tuple(agents), hold.total_seconds()

    @activity.defn(name="purchase")
    async def purchase(self, wanted: FetchInput) -> Purchase:
        """Hand the request to its agent, unless the ledger knows it already, and wait a while for its answer.

        Without an agent it chooses one, and does nothing else.
        """
        if not wanted.agent:
            return PayerChosen(agent=self._agents[0] if self._agents else DEFAULT_AGENT)
        if self._agents and wanted.agent not in self._agents:
            message = f"agent {wanted.agent!r} does not pay for other workflows; these do: {', '.join(self._agents)}"
            return NotObtained(type=NOT_ALLOWED, message=message)
        try:
            spec = spec_of(wanted)
        except ValueError as error:
            return NotObtained(type=INVALID, message=str(error))
        key = x402_request_id(wanted.agent, spec.request_id)
        heartbeats = asyncio.create_task(_send_heartbeats())
        try:
            return await self._bought(wanted, wanted.agent, spec, key)
        finally:
            heartbeats.cancel()

    @activity.defn(name="cancel_purchase")
    async def cancel_purchase(self, wanted: FetchInput) -> bool:
        """Cancel the request; False when nobody is there to end it."""
        assert wanted.agent is not None
        assert wanted.id is not None
        if self._agents and wanted.agent not in self._agents:
            return False
        return await cancel_request(activity.client(), wanted.agent, wanted.id)

    async def _bought(self, wanted: FetchInput, agent: str, spec: RequestSpec, key: str) -> Purchase:
        record = await self._recorded(key)
        if record is None:
            answer = await ask_agent(activity.client(), agent, self._sealed(wanted, spec, key))
            if isinstance(answer, NotAccepted):
                return NotObtained(type=answer.type, message=answer.message, retryable=answer.type in MAY_CHANGE)
        elif record.spec.terms_hash() != spec.terms_hash():
            return _other_terms(spec.request_id)
        if record is None or record.result.status not in CLOSED:
            await self._answers.answered(key, self._hold_s)
            record = await self._requests.get(key)
        return await self._as_it_stands(record, key)

    def _sealed(self, wanted: FetchInput, spec: RequestSpec, key: str) -> RequestSpec:
        if (extras := extras_of(wanted)) is None:
            return spec
        sealed = self._vault.seal(extras.model_dump_json().encode(), purpose="request-extras", row=key)
        return spec.model_copy(update={"sealed_extras": sealed})

    async def _recorded(self, key: str) -> RequestRecord | None:
        try:
            return await self._requests.get(key)
        except UnknownRequest:
            return None

    async def _as_it_stands(self, record: RequestRecord, key: str) -> Purchase:
        result = record.result
        if result.status not in CLOSED:
            return StillOpen(agent=record.agent, status=result.status)
        if result.status in WITHOUT_CONTENT:
            return _failed(record.agent, result)
        try:
            content = await self._requests.content(key)
        except ContentPruned as gone:
            return NotObtained(type=PRUNED, message=str(gone), request=_request_of(record.agent, result))
        assert content is not None, f"{key} is {result.status} and has no content"
        return Obtained(fetched=await asyncio.to_thread(fetched_of, record.agent, result, content))


def fetched_of(agent: str, result: RequestResult, content: StoredContent) -> Fetched:
    """What the caller gets."""
    fetched = Fetched(
        id=result.request_id,
        agent=agent,
        status=result.status.value,
        http_status=result.http_status,
        content_type=content.content_type,
        size=len(content.body),
        sha256=hashlib.sha256(content.body).hexdigest(),
        complete=content.complete,
        content_encoding=content.encoding,
        price=None if result.price_atomic is None else units_text(result.price_atomic),
        currency=None if result.currency is None else result.currency.value,
        transaction=result.transaction,
        pay_to=result.pay_to,
        content_of=result.content_of,
        payment_workflow_id=result.workflow_id,
    )
    return fetched.with_content(content.body)


def _failed(agent: str, result: RequestResult) -> NotObtained:
    name, message = result.status.value, f"the request has ended as {result.status.value}"
    if result.error is not None:
        name, message = result.error.type, result.error.message or message
    return NotObtained(type=name, message=message, request=_request_of(agent, result))


def _request_of(agent: str, result: RequestResult) -> FailedFetch:
    return FailedFetch(
        id=result.request_id,
        agent=agent,
        status=result.status.value,
        http_status=result.http_status,
        price=None if result.price_atomic is None else units_text(result.price_atomic),
        currency=None if result.currency is None else result.currency.value,
        transaction=result.transaction,
        payment_workflow_id=result.workflow_id,
    )


def _other_terms(request_id: str) -> NotObtained:
    """Says nothing of that other request: it may be another caller's."""
    message = f"the id {request_id!r} belongs to a request with other terms; nothing was asked now: use another id"
    return NotObtained(type=RefusalReason.TERMS_DIFFER.value, message=message)


async def _send_heartbeats() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S)
