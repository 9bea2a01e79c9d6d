"""Step 2: agree to an offer or refuse it, with what the agent may spend now."""

from temporalio import activity

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.offer import BuyerLimits, Challenge, Offer, choose
from autopay.domain.payment.ports import Facilitator, Ledger
from autopay.domain.payment.steps import ParseResult, PaymentOrder
from autopay.domain.refusal import RefusalReason, Refused


class ParseStep:
    """Chooses among a seller's options.

    Args:
        mints: the currencies that we know on this network.
        facilitator: when there is one, the fee payer must be among its own.
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
        own_keys: set[str] = set()
        closed: list[Refused] = []
        for currency in [spec.currency] if spec.currency else self._mints:
            session = await self._ledger.sessions.current(order.agent, currency)
            if isinstance(session, Refused):
                closed.append(session)
            elif currency in self._mints:
                mints[currency] = self._mints[currency]
                budgets[currency] = session.key.allowance_atomic - session.spent_atomic
                own_keys |= {session.key.owner, session.key.authority, session.key.source_account}
        if not mints and closed:
            return closed[0]
        wants = BuyerLimits(
            url=spec.url,
            network=self._network,
            mints=mints,
            max_price_atomic=spec.max_price_atomic,
            budgets=budgets,
            own_keys=frozenset(own_keys),
        )
        chosen = choose(challenge, wants)
        if isinstance(chosen, Offer) and self._facilitator is not None:
            return _settled_by(chosen, await self._facilitator.fee_payers())
        return chosen


def _settled_by(offer: Offer, fee_payers: frozenset[str]) -> Offer | Refused:
    if offer.fee_payer in fee_payers:
        return offer
    message = f"the offer's fee payer {offer.fee_payer} is none of the facilitator's in AUTOPAY_FACILITATOR_URL"
    return Refused(reason=RefusalReason.FEE_PAYER_INVALID, message=message)
