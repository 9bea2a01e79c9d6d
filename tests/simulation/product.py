"""The product's activities over a world's ports, as the worker builds them."""

from dataclasses import dataclass

from activities.fetch import FetchStep
from activities.log import LogStep
from activities.parse import ParseStep
from activities.sign import SignStep
from activities.submit import SubmitStep
from activities.verify import VerifyStep
from autopay.adapters.solana.recent import RecentFacts
from autopay.domain.money import Currency
from tests.world.chain import SLOT_MS
from tests.world.clock import now_ms
from tests.world.shop import MINT, NETWORK
from tests.world.world import World

ASK_FOR_S = 60
"""As the setting `content_ask_s`; shorter, as most of the simulated sellers that keep silent do so for good."""


@dataclass
class Activities:
    """The product's activities over the world's ports; all runs share them, and what they read of the chain."""

    fetch: FetchStep
    parse: ParseStep
    sign: SignStep
    submit: SubmitStep
    verify: VerifyStep
    log: LogStep

    @classmethod
    def over(cls, world: World) -> "Activities":
        """As the worker builds them."""
        ledger, chain, seller, vault = world.ledger, world.node, world.seller, world.vault
        verify = VerifyStep(ledger, chain, SLOT_MS)
        return cls(
            fetch=FetchStep(ledger.requests, seller, vault),
            parse=ParseStep(ledger, NETWORK, {Currency.USDC: MINT}),
            sign=SignStep(ledger, chain, RecentFacts(chain, SLOT_MS, lambda: now_ms() / 1000), world.signer),
            submit=SubmitStep(ledger, seller, vault, verify.verify),
            verify=verify,
            log=LogStep(ledger, ASK_FOR_S),
        )
