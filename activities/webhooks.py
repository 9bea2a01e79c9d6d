"""`WebhookStep`: sends an endpoint the ledger's events, for some minutes; its workflow begins it again and again.

At least once, and without gaps: an event's outcome and the cursor behind it are one transaction, after the attempt.
What is sent again because of a crash in between has the same `webhook-id`. Events go out in order; one that fails is
tried again beside those after it.
"""

import asyncio
import random
import time
from contextlib import suppress
from uuid import UUID

import structlog
from temporalio import activity

from autopay.adapters.ledger_changes import Listening, ledger_changes
from autopay.domain.payment.ports import Sealer
from autopay.domain.webhooks.events import (
    DOWN_AFTER,
    REFUSALS,
    message_id,
    name_for,
    next_attempt_s,
    probe_in_s,
    webhook_id,
)
from autopay.domain.webhooks.message import message_body
from autopay.domain.webhooks.ports import Outgoing, Sent, WebhookBook, WebhookSender
from autopay.domain.webhooks.records import Attempt, Message, SigningEndpoint, WebhookOrder, WebhookRound

ROUND_S = 600.0
"""How long one round lasts, mostly waiting for events."""

HEARTBEAT_S = 5.0
POLL_S = 30.0
"""How often the ledger is looked at without a notice of a change, and whether the endpoint is still there."""

SOON_S = 0.05
PAGE = 200
AT_ONCE_DUE = 20
SECRET_PURPOSE = "webhook-secret"  # noqa: S105 - what the vault binds it to

log = structlog.get_logger("autopay.webhooks")


class WebhookStep:
    """The deliveries of one endpoint, one after another.

    Args:
        webhooks: endpoints and deliveries in the ledger.
        listening: waits for commits to the ledger.
        vault: opens the secrets.
        sender: sends.
        round_s: how long a round lasts.
        poll_s: how often it looks without a notice.
    """

    def __init__(
        self,
        webhooks: WebhookBook,
        listening: Listening,
        vault: Sealer,
        sender: WebhookSender,
        *,
        round_s: float = ROUND_S,
        poll_s: float = POLL_S,
    ) -> None:
        self._webhooks = webhooks
        self._listening = listening
        self._vault = vault
        self._sender = sender
        self._round_s = round_s
        self._poll_s = poll_s

    @activity.defn(name="deliver_webhooks")
    async def deliver_webhooks(self, order: WebhookOrder) -> WebhookRound:
        """Send what there is and what comes, for some minutes; `ended` when the endpoint is disabled or removed."""
        heartbeats = asyncio.create_task(_send_heartbeats())
        try:
            return await self.run(order.endpoint_id)
        finally:
            heartbeats.cancel()
            with suppress(asyncio.CancelledError):
                await heartbeats

    async def run(self, endpoint_id: UUID) -> WebhookRound:
        """One round, without Temporal."""
        ends_at = time.monotonic() + self._round_s
        done = WebhookRound()
        await self._webhooks.prune(endpoint_id)
        async with ledger_changes(self._listening) as changes:
            while True:
                endpoint = await self._webhooks.signing(endpoint_id)
                if endpoint is None or endpoint.endpoint.disabled_at is not None:
                    return done.model_copy(update={"ended": True})
                sent = await self._send_all(endpoint)
                done = WebhookRound(delivered=done.delivered + sent.delivered, failed=done.failed + sent.failed)
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    return done
                if sent.delivered or (sent.is_more and not sent.failed):
                    changes.was_useful()
                    continue
                due_in_s = (await self._webhooks.backlog(endpoint_id)).due_in_s
                await changes.wait(min(self._poll_s, left_s, self._poll_s if due_in_s is None else due_in_s + SOON_S))

    async def _send_all(self, endpoint: SigningEndpoint) -> "_Tally":
        """What is due again, then a page of new events; one of them where the endpoint seems to be down."""
        endpoint_id, tally = endpoint.endpoint.endpoint_id, _Tally()
        for outgoing, name in await self._webhooks.due(endpoint_id, AT_ONCE_DUE):
            if not tally.add(await self._attempt(endpoint, outgoing, name, None)):
                break
        if tally.is_over:
            return tally
        backlog = await self._webhooks.backlog(endpoint_id)
        probe_s = probe_in_s(backlog.failing, backlog.begun_s_ago)
        if probe_s:
            return tally
        tally.begin_new(1 if probe_s is not None else DOWN_AFTER)
        cursor, page = await self._webhooks.new(endpoint_id, PAGE)
        wanted = [(each, self._name(endpoint, each)) for each in page]
        tally.is_more = len(page) >= PAGE
        looked_at = cursor
        for outgoing, new_name in wanted:
            if new_name is not None:
                if looked_at != cursor and not await self._webhooks.skip(endpoint_id, cursor, looked_at):
                    return tally
                if not tally.add(await self._attempt(endpoint, outgoing, new_name, looked_at)):
                    return tally
                cursor = outgoing.event.cursor
            looked_at = outgoing.event.cursor
        if looked_at != cursor:
            await self._webhooks.skip(endpoint_id, cursor, looked_at)
        return tally

    def _name(self, endpoint: SigningEndpoint, outgoing: Outgoing) -> str | None:
        event = outgoing.event
        return name_for(endpoint.endpoint.events, event.kind, event.values, outgoing.action)

    async def _attempt(
        self, endpoint: SigningEndpoint, outgoing: Outgoing, name: str, before: str | None
    ) -> Attempt | None:
        """One attempt and its record; None when that was the last for now: disabled, or somebody else has gone on."""
        known, event = endpoint.endpoint, outgoing.event
        row = str(known.endpoint_id)
        opened = [self._vault.open(each, purpose=SECRET_PURPOSE, row=row).decode() for each in endpoint.sealed_secrets]
        number = message_id(known.endpoint_id, event.agent_id, event.seq)
        message = Message(webhook_id=webhook_id(number), type=name, body=message_body(name, event, outgoing.action))
        attempt = await self._sender.send(known.url, message, opened)
        attempts = outgoing.attempts + 1
        again_s = next_attempt_s(attempts, attempt.retry_after_s, random.random())  # noqa: S311 - only spreads
        sent = Sent(event, name, attempts, attempt, again_s)
        recorded = await self._webhooks.record(known.endpoint_id, sent, before)
        if recorded.disabled is not None:
            log.warning("webhook disabled", endpoint=row, why=recorded.disabled)
        return attempt if recorded.goes_on else None


class _Tally:
    """What a pass has come to."""

    def __init__(self) -> None:
        self.delivered = self.failed = self._in_a_row = 0
        self.is_more = False
        self.is_over = False
        """Whether the endpoint was disabled, or is another's."""
        self._most_in_a_row = DOWN_AFTER

    def begin_new(self, most_in_a_row: int) -> None:
        """Go on with new events, until so many have failed in a row."""
        self._in_a_row, self._most_in_a_row = 0, most_in_a_row

    def add(self, attempt: Attempt | None) -> bool:
        """Count it; whether to go on: not when the endpoint seems to be down, was disabled, or is another's.

        A message that the receiver refuses says nothing about the next one.
        """
        if attempt is None:
            self.failed += 1
            self.is_over = True
            return False
        works = attempt.error is None
        self.delivered, self.failed = self.delivered + works, self.failed + (not works)
        if works:
            self._in_a_row = 0
        elif attempt.http_status not in REFUSALS:
            self._in_a_row += 1
        return self._in_a_row < self._most_in_a_row


async def _send_heartbeats() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(HEARTBEAT_S)
