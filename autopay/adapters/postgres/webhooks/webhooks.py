"""`Webhooks`: endpoints, how far each is in the ledger's events, and what became of what was sent to it.

| crash at | leaves |
|---|---|
| before an attempt's outcome is recorded | the cursor before that event: it is sent again, with the same `webhook-id` |
| after it | nothing to do |
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, Update, and_, cast, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.reports.events import START, Events, LedgerEvent, parse_cursor
from autopay.adapters.postgres.tables.access import ActionRow
from autopay.adapters.postgres.tables.audit import AuditEventRow
from autopay.adapters.postgres.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow
from autopay.domain.errors import PermanentFault
from autopay.domain.webhooks.events import message_id, webhook_id
from autopay.domain.webhooks.ports import Backlog, Outgoing, Sent
from autopay.domain.webhooks.records import (
    SigningEndpoint,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookStatus,
)

MOST_ENDPOINTS = 20
"""Each has a workflow, and an activity that waits for events."""

KEPT = timedelta(days=30)
"""How long what became of an event is listed."""

LONG_DOWN = timedelta(minutes=10)
"""After so long, an endpoint that works again gets at once what it missed."""

MOST_ERROR_CHARS = 300


class TooManyWebhooks(PermanentFault):
    """There are as many webhooks as can be; remove one."""


class Webhooks:
    """Endpoints are made and removed by commands; deliveries by the activity."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._events = Events(database)

    async def add(self, endpoint_id: UUID, url: str, events: Sequence[str], sealed_secret: str) -> WebhookEndpoint:
        """A new endpoint, for events from now on.

        Raises:
            TooManyWebhooks: there are as many as can be.
        """
        newest = await self._events.newest(limit=1)
        values = {"id": endpoint_id, "url": url, "events": list(events), "sealed_secret": sealed_secret}
        async with self._database.transaction() as db:
            count = await db.scalar(select(func.count()).where(WebhookEndpointRow.removed_at.is_(None)))
            if (count or 0) >= MOST_ENDPOINTS:
                raise TooManyWebhooks(str(count))
            cursor = newest[-1].cursor if newest else START
            making = insert(WebhookEndpointRow).values(**values, cursor=cursor).returning(WebhookEndpointRow)
            return _endpoint((await db.scalars(making)).one())

    async def list(self) -> Sequence[WebhookEndpoint]:
        """Every endpoint that is not removed, oldest first."""
        retrying = (
            select(func.count())
            .where(WebhookDeliveryRow.endpoint_id == WebhookEndpointRow.id, _RETRYING)
            .correlate(WebhookEndpointRow)
            .scalar_subquery()
        )
        query = select(WebhookEndpointRow, retrying).where(WebhookEndpointRow.removed_at.is_(None))
        async with self._database.transaction() as db:
            found = await db.execute(query.order_by(WebhookEndpointRow.id))
            return [_endpoint(row, count) for row, count in found]

    async def signing(self, endpoint_id: UUID) -> SigningEndpoint | None:
        """The endpoint with what signs for it now; None when it was removed."""
        is_old_good = and_(WebhookEndpointRow.old_until > func.now(), WebhookEndpointRow.sealed_old_secret != "")
        query = select(WebhookEndpointRow, is_old_good).where(_is(endpoint_id))
        async with self._database.transaction() as db:
            found = (await db.execute(query)).one_or_none()
        if found is None:
            return None
        row, signs = found
        secrets = (row.sealed_secret, row.sealed_old_secret) if signs else (row.sealed_secret,)
        return SigningEndpoint(endpoint=_endpoint(row), sealed_secrets=secrets)

    async def rotate(self, endpoint_id: UUID, sealed_secret: str, keep_s: int) -> datetime | None:
        """Another secret signs from now on, and the one before for so long as well; until when. None: no such one."""
        values = {
            "sealed_old_secret": WebhookEndpointRow.sealed_secret,
            "sealed_secret": sealed_secret,
            "old_until": func.now() + cast(timedelta(seconds=keep_s), Interval()),
        }
        rotating = update(WebhookEndpointRow).where(_is(endpoint_id)).values(**values)
        async with self._database.transaction() as db:
            return await db.scalar(rotating.returning(WebhookEndpointRow.old_until))

    async def enable(self, endpoint_id: UUID) -> bool:
        """A disabled endpoint gets events again, with those since and those that its end gave up; False when it is not
        disabled.
        """
        which = and_(_is(endpoint_id), WebhookEndpointRow.disabled_at.is_not(None))
        values = {"disabled_at": None, "disabled_why": None, "failing_since": None}
        async with self._database.transaction() as db:
            why = await db.scalar(select(WebhookEndpointRow.disabled_why).where(which).with_for_update())
            if why is None:
                return False
            await db.execute(update(WebhookEndpointRow).where(which).values(**values))
            await db.execute(_taking_up(endpoint_id, why))
            return True

    async def remove(self, endpoint_id: UUID) -> bool:
        """Nothing is sent to it any more, and its secrets are destroyed; False when there is none."""
        values = {"removed_at": func.now(), "sealed_secret": "", "sealed_old_secret": ""}
        async with self._database.transaction() as db:
            removing = update(WebhookEndpointRow).where(_is(endpoint_id)).values(**values)
            found = await db.scalar(removing.returning(WebhookEndpointRow.id))
            await db.execute(_giving_up(endpoint_id, "the endpoint was removed"))
            return found is not None

    async def disable(self, endpoint_id: UUID, why: str) -> None:
        """Nothing is sent to it until a person enables it."""
        which = and_(_is(endpoint_id), WebhookEndpointRow.disabled_at.is_(None))
        values = {"disabled_at": func.now(), "disabled_why": _storable(why)}
        async with self._database.transaction() as db:
            await db.execute(update(WebhookEndpointRow).where(which).values(**values))
            await db.execute(_giving_up(endpoint_id, why))

    async def deliveries(self, endpoint_id: UUID, limit: int = 50) -> Sequence[WebhookDelivery]:
        """The last events for that endpoint, the newest first, and what became of each."""
        order = (WebhookDeliveryRow.created_at.desc(), WebhookDeliveryRow.id)
        query = select(WebhookDeliveryRow).where(WebhookDeliveryRow.endpoint_id == endpoint_id).order_by(*order)
        async with self._database.transaction() as db:
            return [_delivery(row) for row in await db.scalars(query.limit(limit))]

    # For the activity

    async def due(self, endpoint_id: UUID, limit: int) -> Sequence[tuple[Outgoing, str]]:
        """Events that are to be tried again now, with the names that they are sent under; the longest due first."""
        row = WebhookDeliveryRow
        query = (
            select(row, AuditEventRow.xid, AuditEventRow.id)
            .join(AuditEventRow, and_(AuditEventRow.agent_id == row.event_agent_id, AuditEventRow.seq == row.event_seq))
            .where(row.endpoint_id == endpoint_id, _RETRYING, row.next_at <= func.now())
            .order_by(row.next_at)
            .limit(limit)
        )
        async with self._database.transaction() as db:
            found = (await db.execute(query)).all()
        outgoing = []
        for delivery, xid, number in found:
            page = await self._events.page(after=f"{xid}:{number - 1}", limit=1)
            if page and page[0].cursor == f"{xid}:{number}":
                (each,) = await self._with_actions(page, delivery.attempts)
                outgoing.append((each, delivery.type))
        return outgoing

    async def backlog(self, endpoint_id: UUID) -> Backlog:
        """How many events are tried again, when the next one is due, and when the last attempt was."""
        row = WebhookDeliveryRow
        due = func.extract("epoch", func.min(row.next_at) - func.now())
        tried = func.extract("epoch", func.now() - func.max(row.tried_at))
        query = select(func.count(), due, tried).where(row.endpoint_id == endpoint_id, _RETRYING)
        async with self._database.transaction() as db:
            count, due_in_s, tried_s_ago = (await db.execute(query)).one()
        if not count:
            return Backlog(0, None, None)
        return Backlog(count, max(float(due_in_s), 0.0), max(float(tried_s_ago), 0.0))

    async def new(self, endpoint_id: UUID, limit: int) -> tuple[str, Sequence[Outgoing]]:
        """The endpoint's cursor, and the next events behind it."""
        async with self._database.transaction() as db:
            cursor = await db.scalar(select(WebhookEndpointRow.cursor).where(_is(endpoint_id)))
        if cursor is None:
            return START, []
        found = await self._found_again(endpoint_id, cursor)
        return found, await self._with_actions(await self._events.page(after=found, limit=limit), 0)

    async def _found_again(self, endpoint_id: UUID, cursor: str) -> str:
        """The cursor, or where its event is in a ledger that was restored since: its number stayed, and its
        transaction's did not. One whose event the backup lacks goes on behind what the backup had."""
        xid, number = parse_cursor(cursor)
        newest_restored = select(func.max(AuditEventRow.id)).where(AuditEventRow.xid == 0)
        async with self._database.transaction() as db:
            there = await db.scalar(select(AuditEventRow.xid).where(AuditEventRow.id == number))
            if cursor == START or there == xid:
                return cursor
            place = f"{there}:{number}" if there is not None else f"0:{await db.scalar(newest_restored) or 0}"
            await db.execute(update(WebhookEndpointRow).where(_is(endpoint_id)).values(cursor=place))
            return place

    async def _with_actions(self, events: Sequence[LedgerEvent], attempts: int) -> Sequence[Outgoing]:
        ids = [event.row_id for event in events if event.kind.startswith("operator_actions.")]
        actions: dict[UUID, str] = {}
        if ids:
            async with self._database.transaction() as db:
                rows = await db.execute(select(ActionRow.id, ActionRow.action).where(ActionRow.id.in_(ids)))
                actions = {row[0]: row[1] for row in rows}
        return [Outgoing(event, attempts, actions.get(event.row_id)) for event in events]

    async def skip(self, endpoint_id: UUID, before: str, cursor: str) -> bool:
        """Go on behind that event, which nobody wanted; False when somebody else has gone on meanwhile."""
        which = and_(_is(endpoint_id), WebhookEndpointRow.cursor == before)
        async with self._database.transaction() as db:
            moving = update(WebhookEndpointRow).where(which).values(cursor=cursor)
            return await db.scalar(moving.returning(WebhookEndpointRow.id)) is not None

    async def record(self, endpoint_id: UUID, sent: Sent, before: str | None = None) -> bool:
        """Record an attempt, and with `before` go on behind its event; False when somebody else has gone on meanwhile.

        An endpoint fails from its first attempt that failed on, until one works. When it works again after a while,
        what waits for its next attempt is due at once.
        """
        works = sent.attempt.error is None
        status = WebhookStatus.DELIVERED
        if not works:
            status = WebhookStatus.FAILED if sent.next_in_s is None else WebhookStatus.RETRYING
        wait = None if works or sent.next_in_s is None else cast(timedelta(seconds=sent.next_in_s), Interval())
        values = {
            "type": sent.name,
            "status": status,
            "attempts": sent.attempts,
            "http_status": sent.attempt.http_status,
            "error": None if works else _storable(sent.attempt.error or ""),
            "tried_at": func.now(),
            "next_at": None if wait is None else func.now() + wait,
        }
        key = {
            "id": message_id(endpoint_id, sent.event.agent_id, sent.event.seq),
            "endpoint_id": endpoint_id,
            "event_agent_id": sent.event.agent_id,
            "event_seq": sent.event.seq,
        }
        moving: dict[str, object] = {} if before is None else {"cursor": sent.event.cursor}
        since = None if works else func.coalesce(WebhookEndpointRow.failing_since, func.now())
        which = _is(endpoint_id) if before is None else and_(_is(endpoint_id), WebhookEndpointRow.cursor == before)
        was_long_down = WebhookEndpointRow.failing_since < func.now() - cast(LONG_DOWN, Interval())
        async with self._database.transaction() as db:
            # The endpoint's row is locked before any of its deliveries, here and where it is disabled or removed.
            found = (await db.execute(select(was_long_down).where(which).with_for_update())).one_or_none()
            if found is None:
                return False
            await db.execute(update(WebhookEndpointRow).where(which).values(**moving, failing_since=since))
            if works and found[0]:
                retrying = and_(WebhookDeliveryRow.endpoint_id == endpoint_id, _RETRYING)
                await db.execute(update(WebhookDeliveryRow).where(retrying).values(next_at=func.now()))
            writing = upsert(WebhookDeliveryRow).values(**key, **values)
            await db.execute(writing.on_conflict_do_update(index_elements=[WebhookDeliveryRow.id], set_=values))
            return True

    async def prune(self, endpoint_id: UUID) -> None:
        """Forget what became of events of long ago."""
        row = WebhookDeliveryRow
        old = row.created_at < func.now() - cast(KEPT, Interval())
        async with self._database.transaction() as db:
            await db.execute(
                delete(row).where(row.endpoint_id == endpoint_id, old, row.status != WebhookStatus.RETRYING)
            )


_RETRYING = WebhookDeliveryRow.status == WebhookStatus.RETRYING


def _is(endpoint_id: UUID) -> ColumnElement[bool]:
    return and_(WebhookEndpointRow.id == endpoint_id, WebhookEndpointRow.removed_at.is_(None))


def _giving_up(endpoint_id: UUID, why: str) -> Update:
    values = {"status": WebhookStatus.FAILED, "next_at": None, "error": _storable(why)}
    return update(WebhookDeliveryRow).where(WebhookDeliveryRow.endpoint_id == endpoint_id, _RETRYING).values(**values)


def _taking_up(endpoint_id: UUID, why: str) -> Update:
    """What was given up for that reason is due now."""
    row = WebhookDeliveryRow
    which = (row.endpoint_id == endpoint_id, row.status == WebhookStatus.FAILED, row.error == _storable(why))
    return update(row).where(*which).values(status=WebhookStatus.RETRYING, next_at=func.now())


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()[:MOST_ERROR_CHARS]


def _endpoint(row: WebhookEndpointRow, retrying: int = 0) -> WebhookEndpoint:
    return WebhookEndpoint(
        endpoint_id=row.id,
        url=row.url,
        events=tuple(row.events),
        created_at=row.created_at,
        failing_since=row.failing_since,
        disabled_at=row.disabled_at,
        disabled_why=row.disabled_why,
        retrying=retrying,
    )


def _delivery(row: WebhookDeliveryRow) -> WebhookDelivery:
    return WebhookDelivery(
        webhook_id=webhook_id(row.id),
        type=row.type,
        status=row.status,
        attempts=row.attempts,
        http_status=row.http_status,
        error=row.error,
        created_at=row.created_at,
        tried_at=row.tried_at,
        next_at=row.next_at,
    )
