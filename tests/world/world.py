"""Everything outside of the product, put together: a chain, a node, shops, a ledger, a vault; one trace of it all."""

from collections.abc import Mapping, Sequence
from random import Random
from uuid import uuid5

from autopay.domain.money import Currency
from autopay.domain.network import genesis_hash
from autopay.domain.session import SessionKey
from tests.world.chain import SimChain
from tests.world.clock import now_ms
from tests.world.faults import Faults
from tests.world.ledger import MemoryLedger
from tests.world.node import SimNode
from tests.world.rows import SessionEntry
from tests.world.seller import SimSeller
from tests.world.shop import MINT, NETWORK, Shop, address
from tests.world.store import NAMESPACE
from tests.world.trace import Trace
from tests.world.vault import PlainSigner, PlainVault, token_account_of

OWNER = address("owner")
HOUR_MS = 3_600_000


class World:
    """Without `rates` nothing ever goes wrong in it."""

    def __init__(
        self,
        shops: Sequence[Shop],
        *,
        rng: Random,
        rates: Mapping[str, float] | None = None,
        quiet_at_ms: int = 0,
        skip_rate: float = 0.05,
    ) -> None:
        self.rng = rng
        self.trace = Trace()
        self.faults = Faults(rng, self.trace, rates, quiet_at_ms)
        self.chain = SimChain(self.faults, skip_rate)
        self.node = SimNode(self.chain, genesis_hash(NETWORK), [MINT])
        self.seller = SimSeller(shops, self.chain)
        self.ledger = MemoryLedger(self.faults)
        self.vault = PlainVault()
        self.signer = PlainSigner(self.vault)
        for shop in shops:
            for payee in shop.payees():
                self.chain.open_account(token_account_of(payee, MINT), payee, MINT)

    def launch(
        self,
        agent: str,
        *,
        balance: int,
        allowance: int,
        tx_limit: int,
        duration_ms: int = HOUR_MS,
        key_number: int = 1,
    ) -> SessionEntry:
        """An agent with an account of its own, and a session key that the owner approved for the allowance."""
        if agent not in self.ledger.store.agents:
            self.ledger.store.add_agent(agent, OWNER)
        source = address(f"{agent}/account")
        if source not in self.chain.accounts:
            self.chain.open_account(source, OWNER, MINT, balance)
        authority = address(f"{agent}/key{key_number}")
        self.chain.approve(source, authority, allowance)
        session_id = uuid5(NAMESPACE, authority)
        key = SessionKey(
            session_id=session_id,
            agent_id=self.ledger.store.agents[agent].agent_id,
            currency=Currency.USDC,
            mint=MINT,
            source_account=source,
            owner=OWNER,
            authority=authority,
            allowance_atomic=allowance,
        )
        sealed = self.vault.seal(authority.encode(), purpose="session-key", row=str(session_id))
        session = SessionEntry(key, agent, sealed, tx_limit, now_ms(), now_ms() + duration_ms)
        self.ledger.store.add_session(session)
        return session
