"""The client's work by connections of its own: ledger, Temporal, and the seller for a quote."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from autopay.client.agents.budgets import budget_of
from autopay.client.agents.states import states_of
from autopay.client.errors import InvalidCall, named
from autopay.client.requests.cancellation import cancel_request, require_open
from autopay.client.requests.connections import Connections
from autopay.client.requests.decisions import decide_approval, find_approval
from autopay.client.requests.listener import NOBODY, Listener
from autopay.client.requests.order import RequestOrder, RequestOutcome
from autopay.client.requests.purchasing import buy, require_agent, with_content
from autopay.client.values import Ask, Budget, PaymentSummary, Purchase, Quote, purchase_of, units
from autopay.domain.errors import Fault, SellerUnavailable, SettingsError, UnknownRequest
from autopay.domain.payment.exchange import RequestExtras, UnpaidReply
from autopay.domain.payment.offer import BuyerLimits, Challenge, Offer, choose
from autopay.domain.policy.reach import Reach
from autopay.domain.policy.records import ApprovalRecord
from autopay.domain.refusal import Refused
from autopay.domain.report.filter import Filter
from autopay.domain.report.rows import PaymentRow
from autopay.domain.request import CLOSED, RequestError, x402_request_id
from autopay.domain.text.hosts import host_of, matches, parse_host_rule
from autopay.settings import Settings

if TYPE_CHECKING:
    from autopay.adapters.x402.mcp_seller import AnySeller

PAGE = 200
"""Payments that are read at a time when only those of one host are wanted."""


class DirectBackend:
    """Implements `Backend` beside a ledger and a Temporal server.

    Args:
        settings: resolved ones.
        connections: when the caller has them open already, and closes them.
    """

    def __init__(self, settings: Settings, connections: Connections | None = None) -> None:
        self._settings = settings
        self._is_borrowed = connections is not None
        self._connections = connections or Connections(settings)
        self._seller: AnySeller | None = None

    async def close(self) -> None:
        """Close every connection."""
        if not self._is_borrowed:
            await self._connections.close()
        if self._seller is not None:
            await self._seller.close()

    async def buy(self, agent: str, ask: Ask, listener: Listener = NOBODY) -> Purchase:
        """See the port."""
        order = RequestOrder(
            agent=agent,
            request_id=ask.id,
            url=ask.url,
            method=ask.method,
            body=ask.content,
            max_price_atomic=ask.max_price_atomic,
            currency=ask.currency,
            timeout_s=ask.timeout_s,
            max_age_s=ask.max_age_s,
            headers=ask.headers,
        )
        async with _named_errors():
            return _purchase(agent, await buy(self._connections, order, listener))

    async def quote(self, agent: str, ask: Ask) -> Quote:
        """See the port. The seller is asked here, not by a worker."""
        extras = RequestExtras(headers=ask.headers, body=ask.content)
        async with _named_errors():
            await require_agent(self._connections, agent)
            try:
                reply = await self._seller_asked().ask(ask.url, ask.method, extras)
            except SellerUnavailable as fault:
                return _no_quote(ask, None, "seller_unavailable", str(fault))
            if isinstance(reply, Refused):
                return _no_quote(ask, None, reply.reason.value, reply.message)
            chosen = self._chosen(reply, ask)
            if not isinstance(chosen, Offer):
                return chosen
            summary = await self._connections.ledger.agents.summary(agent)
            left = [each for each in budget_of(summary).currencies if each.currency is chosen.currency]
        return Quote(
            url=ask.url,
            http_status=402,
            price=units(chosen.amount_atomic),
            currency=chosen.currency,
            pay_to=chosen.pay_to,
            network=chosen.network,
            spendable=left[0].spendable if left else units(0),
        )

    def _chosen(self, plain: UnpaidReply, ask: Ask) -> Offer | Quote:
        """The offer that an agent would pay, or the quote without one."""
        status, challenge = plain.reply.http_status, plain.challenge
        if isinstance(challenge, Challenge):
            settings = self._settings
            limits = BuyerLimits(
                network=settings.network,
                mints={name: mint for name, mint in settings.mints().items() if ask.currency in (None, name)},
                max_price_atomic=ask.max_price_atomic,
            )
            offer = choose(challenge, limits)
            if isinstance(offer, Offer):
                return offer
            return _no_quote(ask, status, offer.reason.value, offer.message)
        if isinstance(challenge, Refused):
            return _no_quote(ask, status, challenge.reason.value, challenge.message)
        if 200 <= status < 300:
            return Quote(url=ask.url, http_status=status, free=True)
        return _no_quote(ask, status, "seller_rejected", f"the seller answers HTTP {status}")

    def _seller_asked(self) -> AnySeller:
        from autopay.adapters.x402.mcp_seller import AnySeller
        from autopay.adapters.x402.seller import HttpSeller

        if self._seller is None:
            settings = self._settings
            reach = Reach.of(settings.allowed_http_hosts, settings.allowed_private_hosts)
            self._seller = AnySeller(HttpSeller(reach, body_limit_bytes=settings.body_limit_bytes))
        return self._seller

    async def result(self, agent: str, request_id: str, wait_s: float) -> Purchase | None:
        """See the port."""
        key, ledger = x402_request_id(agent, request_id), self._connections.ledger
        deadline = time.monotonic() + wait_s
        async with _named_errors():
            try:
                record = await ledger.requests.get(key)
                left_s = deadline - time.monotonic()
                while record.result.status not in CLOSED and left_s > 0:
                    await self._connections.answers.answered(key, left_s)
                    record = await ledger.requests.get(key)
                    left_s = deadline - time.monotonic()
            except UnknownRequest:
                return None
            spec = record.spec
            order = RequestOrder(agent, request_id, spec.url, spec.method, None, None, spec.currency, wait_s)
            return _purchase(agent, await with_content(self._connections, order, record.result))

    async def purchases(
        self, agent: str, since: datetime | None, host: str | None, limit: int
    ) -> Sequence[PaymentSummary]:
        """See the port."""
        found: list[PaymentSummary] = []
        after: str | None = None
        rule = None if host is None else _host_rule(host)
        async with _named_errors():
            while len(found) < limit:
                page = await self._connections.ledger.reports.payments(
                    Filter(agent=agent, since=since), after=after, limit=limit if rule is None else PAGE
                )
                found += [_summary(row) for row in page.rows if rule is None or _is_of(rule, row)]
                after = page.next
                if after is None:
                    break
        return found[:limit]

    async def budget(self, agent: str) -> Budget:
        """See the port."""
        async with _named_errors():
            await require_agent(self._connections, agent)
            return budget_of(await self._connections.ledger.agents.summary(agent))

    async def agents(self) -> Sequence[Budget]:
        """See the port."""
        async with _named_errors():
            summaries = await self._connections.ledger.agents.summaries()
            states = await states_of(await self._connections.temporal(), [each.agent.name for each in summaries])
            return [budget_of(each, states.get(each.agent.name)) for each in summaries]

    async def pause(self, agent: str, reason: str | None) -> None:
        """See the port."""
        async with _named_errors():
            await (await self._connections.agent(agent)).signal("pause", reason)

    async def resume(self, agent: str) -> None:
        """See the port."""
        async with _named_errors():
            await (await self._connections.agent(agent)).signal("resume")

    async def cancel(self, agent: str, request_id: str) -> None:
        """See the port."""
        async with _named_errors():
            await require_open(self._connections.ledger, agent, request_id)
            client = await self._connections.temporal()
            await cancel_request(client, await self._connections.agent(agent), request_id)

    async def approvals(self, agent: str) -> Sequence[ApprovalRecord]:
        """See the port."""
        async with _named_errors():
            await require_agent(self._connections, agent)
            return await self._connections.ledger.policies.approvals(agent)

    async def decide(self, approval_id: str, *, approve: bool) -> bool:
        """See the port."""
        async with _named_errors():
            row = await find_approval(self._connections.ledger, approval_id)
            connections = self._connections
            return await decide_approval(
                self._settings, connections.ledger, row, approve=approve, temporal=connections.temporal
            )


@asynccontextmanager
async def _named_errors() -> AsyncIterator[None]:
    """Turns faults of the ledger, the chain and the settings into an `AutopayError`."""
    try:
        yield
    except (Fault, SettingsError) as fault:
        raise named(fault) from fault


def _purchase(agent: str, outcome: RequestOutcome) -> Purchase:
    stored = outcome.content
    return purchase_of(
        agent,
        outcome.result,
        content=None if stored is None else stored.body,
        content_type=None if stored is None else stored.content_type,
        content_complete=outcome.result.content_complete if stored is None else stored.complete,
        content_encoding=outcome.result.content_encoding if stored is None else stored.encoding,
        content_at=outcome.content_at,
        pruned=outcome.pruned,
        ended_before=outcome.ended_before is not None,
        terms_differ=outcome.terms_differ,
    )


def _no_quote(ask: Ask, http_status: int | None, kind: str, message: str) -> Quote:
    return Quote(url=ask.url, http_status=http_status, error=RequestError(type=kind, message=message))


def _summary(row: PaymentRow) -> PaymentSummary:
    return PaymentSummary(
        id=row.request_id,
        agent=row.agent,
        at=row.created_at,
        url=row.url,
        status=row.status,
        delivered=row.delivery == "DELIVERED",
        price=units(row.amount_atomic),
        currency=row.currency,
        pay_to=row.pay_to,
        transaction=row.hash,
    )


def _host_rule(host: str) -> str:
    try:
        return parse_host_rule(host)
    except ValueError as error:
        raise InvalidCall(f"host: {error}") from None


def _is_of(rule: str, row: PaymentRow) -> bool:
    return row.url is not None and matches(rule, host_of(row.url))
