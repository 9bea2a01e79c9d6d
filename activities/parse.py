"""Step 2: agree to an offer or refuse it, with what the agent may spend now."""

from temporalio import activity

from autopay.domain.errors import FacilitatorUnavailable
from autopay.domain.hosts import origin
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.offer import BuyerLimits, Challenge, choose
from autopay.domain.payment.ports import Facilitator, Ledger
from autopay.domain.payment.steps import ParseResult, PaymentOrder
from autopay.domain.refusal import Refused


class ParseStep:
    """Chooses among a seller's options.

    Args:
        mints: the currencies that we know on this network.
        facilitator: when there is one, the fee payer must be among those that it names.
    """

    def __init__(
        self, ledger: Ledger, network: Network, mints: dict[Currency, str], facilitator: Facilitator | None = None
    ) -> None:
        self._ledger = ledger
        self._facilitator = facilitator
        self._network = network
        self._mints = mints

    @activity.defn(name="parse")
    async def parse(self, order: PaymentOrder, challenge: Challenge) -> ParseResult:
        """The cheapest option that a session of the agent can pay, or why there is none."""
        spec = (await self._ledger.requests.get(order.request_key)).spec
        mints: dict[Currency, str] = {}
        budgets: dict[Currency, int] = {}
        closed: list[Refused] = []
        for currency in [spec.currency] if spec.currency else self._mints:
            session = await self._ledger.sessions.current(order.agent, currency)
            if isinstance(session, Refused):
                closed.append(session)
            elif currency in self._mints:
                mints[currency] = self._mints[currency]
                budgets[currency] = session.key.allowance_atomic - session.spent_atomic
        if not mints and closed:
            return closed[0]
        wants = BuyerLimits(
            network=self._network,
            mints=mints,
            max_price_atomic=spec.max_price_atomic,
            budgets=budgets,
            own_keys=await self._ledger.sessions.own_among(order.agent, challenge.addresses()),
        )
        _note_resource(order, spec.url, challenge.resource_url)
        chosen = choose(challenge, wants)
        if isinstance(chosen, Refused) or self._facilitator is None:
            return chosen
        return await self._settled_by(self._facilitator, challenge, wants)

    async def _settled_by(self, facilitator: Facilitator, challenge: Challenge, wants: BuyerLimits) -> ParseResult:
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
