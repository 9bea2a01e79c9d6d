"""The product's activities over a world's ports, as the worker builds them."""

from dataclasses import dataclass

from activities.fetch import Fetch
from activities.log import Log
from activities.parse import Parse
from activities.sign import Sign
from activities.submit import Submit
from activities.verify import Verify
from autopay.domain.money import Currency
from tests.world.chain import SLOT_MS
from tests.world.shop import MINT, NETWORK
from tests.world.world import World


@dataclass
class Activities:
    """The product's activities over the world's ports; they hold no state, so all runs share them."""

    fetch: Fetch
    parse: Parse
    sign: Sign
    submit: Submit
    verify: Verify
    log: Log

    @classmethod
    def over(cls, world: World) -> "Activities":
        """As the worker builds them."""
        ledger, chain, seller, vault = world.ledger, world.node, world.seller, world.vault
        return cls(
            fetch=Fetch(ledger, seller, vault),
            parse=Parse(ledger, NETWORK, {Currency.USDC: MINT}),
            sign=Sign(ledger, chain, world.signer),
            submit=Submit(ledger, seller, vault),
            verify=Verify(ledger, chain, SLOT_MS),
            log=Log(ledger),
        )
