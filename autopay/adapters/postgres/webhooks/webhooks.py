"""`Webhooks`: endpoints, how far each is in the ledger's events, and what became of what was sent to it.

| crash at | leaves |
|---|---|
| before an attempt's outcome is recorded | the cursor before that event: it is sent again, with the same `webhook-id` |
| after it | nothing to do |
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, Update, and_, cast, delete, exists, func, insert, not_, select, update
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.dialects.postgresql import insert as upsert

from autopay.adapters.postgres.database.transaction import Database
from autopay.adapters.postgres.reports.events import START, Events, LedgerEvent, parse_cursor
from autopay.adapters.postgres.tables.access import ActionRow
from autopay.adapters.postgres.tables.audit import AuditEventRow
from autopay.adapters.postgres.tables.webhooks import WebhookDeliveryRow, WebhookEndpointRow
from autopay.domain.errors import PermanentFault
from autopay.domain.webhooks.events import DISABLED_AFTER, REFUSALS, message_id, webhook_id
from autopay.domain.webhooks.ports import Backlog, Outgoing, Recorded, Sent
from autopay.domain.webhooks.records import (
    Attempt,
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
        """How many events have failed since one was taken, when the next one is due, and when a new one was tried."""
        row = WebhookDeliveryRow
        is_refused = func.coalesce(row.http_status, 0).in_(REFUSALS)
        since = select(WebhookEndpointRow.failing_since).where(_is(endpoint_id)).scalar_subquery()
        failing = func.count().filter(row.tried_at >= since, not_(is_refused))
        due = func.extract("epoch", func.min(row.next_at) - func.now())
        query = select(failing, due).where(row.endpoint_id == endpoint_id, _RETRYING)
        begun = select(func.extract("epoch", func.now() - func.max(row.created_at))).where(
            row.endpoint_id == endpoint_id
        )
        async with self._database.transaction() as db:
            count, due_in_s = (await db.execute(query)).one()
            begun_s_ago = await db.scalar(begun)
        return Backlog(count, *(None if each is None else max(float(each), 0.0) for each in (due_in_s, begun_s_ago)))

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

    async def record(self, endpoint_id: UUID, sent: Sent, before: str | None = None) -> Recorded:
        """Record an attempt, and with `before` go on behind its event; disable the endpoint where that is due.

        An endpoint fails from its first attempt that failed on, until one works; anew, when nothing of it was left to
        be tried again. When it works again after a while, what waits for its next attempt is due at once. What fails
        while it is disabled is given up with it, so that `enable` takes it up.
        """
        row, works = WebhookEndpointRow, sent.attempt.error is None
        which = _is(endpoint_id) if before is None else and_(_is(endpoint_id), row.cursor == before)
        was_long_down = row.failing_since < func.now() - cast(LONG_DOWN, Interval())
        took_nothing = row.failing_since < func.now() - cast(DISABLED_AFTER, Interval())
        is_tried_again = exists().where(WebhookDeliveryRow.endpoint_id == endpoint_id, _RETRYING)
        moving: dict[str, object] = {} if before is None else {"cursor": sent.event.cursor}
        async with self._database.transaction() as db:
            # The endpoint's row is locked before any of its deliveries, here and where it is enabled or removed.
            locking = select(row.disabled_why, was_long_down, took_nothing, is_tried_again).where(which)
            found = (await db.execute(locking.with_for_update(of=row))).one_or_none()
            if found is None:
                return Recorded(goes_on=False)
            disabled_before, long_down, nothing_taken, retries = found
            if works:
                moving["failing_since"] = None
            elif disabled_before is None:
                moving["failing_since"] = func.coalesce(row.failing_since, func.now()) if retries else func.now()
            if moving:
                await db.execute(update(row).where(which).values(**moving))
            if works and long_down:
                retrying = and_(WebhookDeliveryRow.endpoint_id == endpoint_id, _RETRYING)
                await db.execute(update(WebhookDeliveryRow).where(retrying).values(next_at=func.now()))
            await db.execute(_recording(endpoint_id, sent, disabled_before))
            if disabled_before is not None:
                return Recorded(goes_on=False)
            why = _why_disabled(sent.attempt, took_nothing=bool(retries and nothing_taken))
            if why is None:
                return Recorded(goes_on=True)
            disabling = update(row).where(_is(endpoint_id))
            await db.execute(disabling.values(disabled_at=func.now(), disabled_why=_storable(why)))
            await db.execute(_giving_up(endpoint_id, why))
            return Recorded(goes_on=False, disabled=why)

    async def prune(self, endpoint_id: UUID) -> None:
        """Forget what became of events of long ago."""
        row = WebhookDeliveryRow
        old = row.created_at < func.now() - cast(KEPT, Interval())
        async with self._database.transaction() as db:
            await db.execute(
                delete(row).where(row.endpoint_id == endpoint_id, old, row.status != WebhookStatus.RETRYING)
            )


def _recording(endpoint_id: UUID, sent: Sent, disabled_why: str | None) -> Insert:
    """Writes what became of the attempt, at an endpoint that was disabled meanwhile for that reason, if it was."""
    error, status, wait = sent.attempt.error, WebhookStatus.DELIVERED, None
    if error is not None and disabled_why is not None:
        error, status = disabled_why, WebhookStatus.FAILED
    elif error is not None:
        status = WebhookStatus.FAILED if sent.next_in_s is None else WebhookStatus.RETRYING
        wait = sent.next_in_s
    values = {
        "type": sent.name,
        "status": status,
        "attempts": sent.attempts,
        "http_status": sent.attempt.http_status,
        "error": None if error is None else _storable(error),
        "tried_at": func.now(),
        "next_at": None if wait is None else func.now() + cast(timedelta(seconds=wait), Interval()),
    }
    key = {
        "id": message_id(endpoint_id, sent.event.agent_id, sent.event.seq),
        "endpoint_id": endpoint_id,
        "event_agent_id": sent.event.agent_id,
        "event_seq": sent.event.seq,
    }
    writing = upsert(WebhookDeliveryRow).values(**key, **values)
    return writing.on_conflict_do_update(index_elements=[WebhookDeliveryRow.id], set_=values)


def _why_disabled(attempt: Attempt, *, took_nothing: bool) -> str | None:
    """Why nothing is to be sent any more after this attempt; None while something is."""
    if attempt.gone:
        return "it answered 410 Gone: it wants nothing any more"
    if attempt.error is None or not took_nothing:
        return None
    return f"it took nothing for {DISABLED_AFTER.days} days; the last error: {attempt.error}"


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
