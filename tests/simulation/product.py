"""The product's activities over a world's ports, as the worker builds them."""

from dataclasses import dataclass

from activities.fetch import FetchStep
from activities.known_attempts import KnownAttempts
from activities.log import LogStep
from activities.parse import ParseStep
from activities.sign import Readings, SignStep
from activities.submit import SubmitStep
from activities.verify import VerifyStep
from autopay.adapters.postgres.sessions.recent import RecentSessions
from autopay.adapters.solana.confirmations import BatchedConfirmations
from autopay.adapters.solana.recent import RecentFacts
from autopay.domain.money import Currency
from autopay.domain.payment.notice import Announcement
from autopay.domain.payment.settlement import FINALITY_SLOTS
from tests.world.chain import SLOT_MS
from tests.world.clock import now_ms
from tests.world.shop import MINT, NETWORK
from tests.world.world import World

ASK_FOR_S = 60
"""As the setting `content_ask_s`; shorter, as most of the simulated sellers that keep silent do so for good."""


@dataclass
class Activities:
    """The product's activities over the world's ports: one worker, with what it has read and signed of late."""

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
        readings = Readings(RecentFacts(chain, SLOT_MS, now_s), RecentSessions(ledger.sessions, now_s))
        known = KnownAttempts(now_s)
        verify = VerifyStep(ledger, chain, world.signer, BatchedConfirmations(chain, SLOT_MS), known, SLOT_MS)
        return cls(
            fetch=FetchStep(ledger.requests, seller, vault),
            parse=ParseStep(ledger, readings.sessions, NETWORK, {Currency.USDC: MINT}),
            sign=SignStep(ledger, chain, readings, world.signer, known, ASK_FOR_S),
            submit=SubmitStep(ledger, seller, vault, verify.verify, known, FINALITY_SLOTS * SLOT_MS, nobody),
            verify=verify,
            log=LogStep(ledger, ASK_FOR_S, nobody),
        )


async def nobody(announcement: Announcement) -> None:
    """The agent, which is not simulated."""


def now_s() -> float:
    """The virtual clock."""
    return now_ms() / 1000
