"""Step 2: agree to an offer or refuse it, with what the agent may spend now."""

import asyncio

from temporalio import activity

from activities.fetch import require_same_request
from autopay.domain.errors import FacilitatorUnavailable
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.exchange import Reply, UnpaidReply
from autopay.domain.payment.offer import BuyerLimits, Challenge, Offer, choose
from autopay.domain.payment.ports import Facilitator, Ledger, SessionFacts
from autopay.domain.payment.steps import ParseResult, PaymentOrder
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestSpec
from autopay.domain.text.hosts import origin


class ParseStep:
    """Chooses among a seller's options.

    Args:
        recent: the ledger's sessions, some seconds ago; the ledger itself is asked before anything is refused.
        mints: the currencies that we know on this network.
        facilitator: when there is one, the fee payer must be among those that it names.
    """

    def __init__(
        self,
        ledger: Ledger,
        recent: SessionFacts,
        network: Network,
        mints: dict[Currency, str],
        facilitator: Facilitator | None = None,
    ) -> None:
        self._ledger = ledger
        self._recent = recent
        self._facilitator = facilitator
        self._network = network
        self._mints = mints

    @activity.defn(name="parse")
    async def parse(self, order: PaymentOrder, challenge: Challenge) -> ParseResult:
        """The cheapest option that a session of the agent can pay, or why there is none."""
        spec = order.accepted or (await self._ledger.requests.get(order.request_key)).spec
        _note_resource(order, spec.url, challenge.resource_url)
        chosen = await self._chosen(self._recent, order.agent, spec, challenge)
        if isinstance(chosen, Refused):
            chosen = await self._chosen(self._ledger.sessions, order.agent, spec, challenge)
        if isinstance(chosen, Refused) and order.accepted is not None:  # else it was recorded when it came
            await require_same_request(self._ledger.requests, order)
            plain = UnpaidReply(reply=Reply(http_status=402), challenge=challenge, breaker=order.breaker)
            await self._ledger.requests.record_plain(order.request_key, plain)
        return chosen

    async def _chosen(
        self, sessions: SessionFacts, agent: str, spec: RequestSpec, challenge: Challenge
    ) -> Offer | Refused:
        currencies = [spec.currency] if spec.currency else list(self._mints)
        own, found = await asyncio.gather(
            sessions.own_among(agent, challenge.addresses()),
            asyncio.gather(*(sessions.current(agent, currency) for currency in currencies)),
        )
        opened = [each for each in found if not isinstance(each, Refused) and each.key.currency in self._mints]
        closed = [each for each in found if isinstance(each, Refused)]
        if len(opened) > 1 and sessions is self._recent:  # which one pays is decided by what is left of each now
            return await self._chosen(self._ledger.sessions, agent, spec, challenge)
        if not opened and closed:
            return closed[0]
        wants = BuyerLimits(
            network=self._network,
            mints={each.key.currency: self._mints[each.key.currency] for each in opened},
            max_price_atomic=spec.max_price_atomic,
            budgets={each.key.currency: each.key.allowance_atomic - each.spent_atomic for each in opened},
            own_keys=own,
        )
        chosen = choose(challenge, wants)
        if isinstance(chosen, Refused) or self._facilitator is None:
            return chosen
        return await self._settled_by(self._facilitator, challenge, wants)

    async def _settled_by(self, facilitator: Facilitator, challenge: Challenge, wants: BuyerLimits) -> Offer | Refused:
        """The choice among what the configured facilitators settle; one that is away is no reason to refuse."""
        found = await facilitator.fee_payers()
        chosen = choose(challenge, wants.model_copy(update={"fee_payers": found.addresses}))
        if isinstance(chosen, Refused) and found.unanswered:
            raise FacilitatorUnavailable(f"/supported of {', '.join(found.unanswered)}")
        return chosen


def _note_resource(order: PaymentOrder, asked: str, named: str | None) -> None:
    """Tell the log that a seller names another origin than was asked: honest behind a proxy, and never believed."""
    if named is not None and origin(named) != origin(asked):
        activity.logger.info("%s: the offer names %r, not what was asked", order.request_key, named[:200])
