"""Requests that came together, accepted in one transaction: each is queued, answered from what is fresh, or refused."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ARRAY, Text, and_, any_, bindparam, func, insert, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from autopay.adapters.postgres.database.direct import one_row
from autopay.adapters.postgres.database.rows import request_result, request_spec
from autopay.adapters.postgres.database.writes import new, write
from autopay.adapters.postgres.tables.core import AgentRow, QueueRow, RequestRow, TransactionRow
from autopay.domain.agent.steps import Enqueued, ToEnqueue
from autopay.domain.errors import UnknownAgent
from autopay.domain.money import to_units
from autopay.domain.payment.status import Delivery
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.request import (
    HttpMethod,
    RequestResult,
    RequestSpec,
    RequestStatus,
    payment_workflow_id,
    x402_request_id,
)
from autopay.domain.text.hosts import path_of
from autopay.uuid7 import uuid7

MAX_OPEN = timedelta(days=1)
"""Content that came this long after its request was made is not looked for: it is bought again, which is safe."""

Data = tuple[HttpMethod, str | None, str | None]
"""Method, URL and body hash: what makes content the same."""

_OWNER = select(AgentRow.id, AgentRow.name).where(AgentRow.name == bindparam("name")).with_for_update(key_share=True)
_IS_KNOWN = RequestRow.x402_request_id == any_(bindparam("keys", type_=ARRAY(Text)))
_KNOWN = select(RequestRow).where(_IS_KNOWN)
_WAITING = select(func.count()).where(QueueRow.agent_id == bindparam("agent_id"), QueueRow.processed_at.is_(None))
_BEFORE = select(
    select(RequestRow.id).where(_IS_KNOWN).exists().label("any_known"), _WAITING.scalar_subquery().label("waiting")
)

# With RETURNING, SQLAlchemy inserts many rows by one statement.
_REQUESTS = insert(RequestRow).returning(RequestRow.id)
_PLACES = insert(QueueRow).returning(QueueRow.id)


async def accept_many(
    db: AsyncSession, agent: str, requests: Sequence[ToEnqueue], queue_limit: int
) -> list[Enqueued | Refused]:
    """The outcome of each request, in their order; the port `AgentRequests` says which.

    The agent's row is locked: calls with one id, or at the queue's limit, come one after the other. Few statements,
    however many requests there are.

    Raises:
        UnknownAgent: there is none of that name.
    """
    owner: AgentRow | None = await one_row(db, _OWNER, {"name": agent})
    if owner is None:
        raise UnknownAgent(agent)
    keys = [x402_request_id(agent, each.spec.request_id) for each in requests]
    before = await one_row(db, _BEFORE, {"keys": keys, "agent_id": owner.id})
    rows = list(await db.scalars(_KNOWN, {"keys": keys})) if before.any_known else []
    known = {row.x402_request_id: row for row in rows}
    unknown = [each for key, each in zip(keys, requests, strict=True) if key not in known]
    batch = _Batch(owner, queue_limit, before.waiting)
    batch.terms = {key: _Known(row.terms_hash, request_spec(row)) for key, row in known.items() if key is not None}
    batch.outcomes = await _outcomes(db, agent, rows)
    batch.fresh = await _newest_content(db, owner, unknown)
    outcomes = [batch.accept(key, each) for key, each in zip(keys, requests, strict=True)]
    await batch.write(db)
    return outcomes


@dataclass
class _Known:
    """A request that the ledger has, or has from this batch."""

    terms_hash: str | None
    spec: RequestSpec


@dataclass
class _Batch:
    """What the ledger knew before the batch, and what the batch adds: `write` inserts it."""

    owner: AgentRow
    queue_limit: int
    waiting: int
    terms: dict[str, _Known] = field(default_factory=dict)
    outcomes: dict[str, Enqueued] = field(default_factory=dict)
    fresh: dict[Data, RequestRow] = field(default_factory=dict)
    queued: list[dict[str, object]] = field(default_factory=list)
    ended: list[dict[str, object]] = field(default_factory=list)
    places: list[dict[str, object]] = field(default_factory=list)

    def accept(self, key: str, request: ToEnqueue) -> Enqueued | Refused:
        """Decide about the next request; those before it in the batch count as known."""
        spec = request.spec
        if (known := self.terms.get(key)) is not None:
            return self.outcomes[key] if known.terms_hash == spec.terms_hash() else _terms_differ(spec, known.spec)
        source = self._fresh_content(request)
        if source is None and self.waiting >= self.queue_limit:
            message = f"{self.waiting} requests wait already, the limit is {self.queue_limit}"
            return Refused(reason=RefusalReason.QUEUE_FULL, message=message)
        outcome = self._queue(key, request) if source is None else self._answer(key, spec, source)
        self.terms[key] = _Known(spec.terms_hash(), spec)
        self.outcomes[key] = outcome.model_copy(update={"content_at": None})  # as the ledger tells a known one
        return outcome

    async def write(self, db: AsyncSession) -> None:
        """Insert what is new: requests that wait and their places in the queue, and requests that have ended."""
        if len(self.queued) == 1:
            await write(db, new(RequestRow, self.queued[0]), new(QueueRow, self.places[0]))
        elif self.queued:
            await db.execute(_REQUESTS, self.queued)
            await db.execute(_PLACES, self.places)
        if self.ended:
            closed_at = await db.scalar(select(func.clock_timestamp()))
            await db.execute(_REQUESTS, [values | {"closed_at": closed_at} for values in self.ended])

    def _queue(self, key: str, request: ToEnqueue) -> Enqueued:
        row_id = uuid7()
        self.queued.append(self._row(row_id, key, request.spec))
        score = Decimal(repr(float(request.score)))
        self.places.append(
            {"id": uuid7(), "agent_id": self.owner.id, "api_request_id": row_id, "priority_score": score}
        )
        self.waiting += 1
        return Enqueued(status=RequestStatus.WAITING)

    def _answer(self, key: str, spec: RequestSpec, source: RequestRow) -> Enqueued:
        result = RequestResult(
            request_id=spec.request_id,
            status=RequestStatus.FRESH,
            http_status=source.response_status,
            workflow_id=payment_workflow_id(self.owner.name, spec.request_id),
            content_of=source.request_id,
        )
        end = {"outcome": result.status.value, "result": result.model_dump(mode="json")}
        self.ended.append(self._row(uuid7(), key, spec) | end)
        return Enqueued(status=result.status, content_of=source.request_id, content_at=source.answered_at)

    def _fresh_content(self, request: ToEnqueue) -> RequestRow | None:
        since, source = request.fresh_since, self.fresh.get(_data(request.spec))
        if since is None or source is None or source.answered_at is None:
            return None
        return source if source.answered_at > since and source.created_at > since - MAX_OPEN else None

    def _row(self, row_id: UUID, key: str, spec: RequestSpec) -> dict[str, object]:
        return {
            "id": row_id,
            "agent_id": self.owner.id,
            "endpoint": path_of(spec.url),
            "method": HttpMethod(spec.method),
            "request_id": spec.request_id,
            "x402_request_id": key,
            "url": spec.url,
            "terms_hash": spec.terms_hash(),
            "max_price": to_units(spec.max_price_atomic) if spec.max_price_atomic is not None else None,
            "currency_preference": spec.currency,
            "watch": spec.watch,
            "sealed_extras": spec.sealed_extras,
            "body_hash": spec.body_hash,
        }


def _terms_differ(spec: RequestSpec, known: RequestSpec) -> Refused:
    message = f"request id {spec.request_id!r} was used before with {known.differs_from(spec)}"
    return Refused(reason=RefusalReason.TERMS_DIFFER, message=message)


async def _outcomes(db: AsyncSession, agent: str, known: Sequence[RequestRow]) -> dict[str, Enqueued]:
    """How the requests stand that the ledger knows."""
    attempts: dict[str | None, list[TransactionRow]] = {}
    is_open = [row.x402_request_id for row in known if row.result is None]
    if is_open:
        rows = await db.scalars(
            select(TransactionRow)
            .where(TransactionRow.x402_request_id.in_(is_open), TransactionRow.attempt_number.is_not(None))
            .order_by(TransactionRow.attempt_number)
        )
        for attempt in rows:
            attempts.setdefault(attempt.x402_request_id, []).append(attempt)
    results = {row.x402_request_id: request_result(row, agent, attempts.get(row.x402_request_id, [])) for row in known}
    return {
        key: Enqueued(status=result.status, content_of=result.content_of)
        for key, result in results.items()
        if key is not None
    }


async def _newest_content(db: AsyncSession, owner: AgentRow, requests: Iterable[ToEnqueue]) -> dict[Data, RequestRow]:
    """The newest content of each method, URL and body that a request may be answered with."""
    since: dict[Data, datetime] = {}
    for each in requests:
        if each.fresh_since is not None:
            data = _data(each.spec)
            since[data] = min(each.fresh_since, since.get(data, each.fresh_since))
    if not since:
        return {}
    same = [
        and_(
            RequestRow.method == method,
            RequestRow.url == url,
            RequestRow.body_hash.is_not_distinct_from(body_hash),
            RequestRow.created_at > at - MAX_OPEN,
            RequestRow.answered_at > at,
        )
        for (method, url, body_hash), at in since.items()
    ]
    columns = (RequestRow.method, RequestRow.url, RequestRow.body_hash)
    found = await db.scalars(
        select(RequestRow)
        .ext(distinct_on(*columns))
        .where(
            RequestRow.agent_id == owner.id,
            RequestRow.delivery == Delivery.DELIVERED,
            RequestRow.body_pruned_at.is_(None),
            RequestRow.created_at > min(since.values()) - MAX_OPEN,
            or_(*same),
        )
        .order_by(*columns, RequestRow.answered_at.desc())
    )
    return {(row.method, row.url, row.body_hash): row for row in found}


def _data(spec: RequestSpec) -> Data:
    return HttpMethod(spec.method), spec.url, spec.body_hash
