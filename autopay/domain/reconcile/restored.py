"""Values about a restored ledger: its fence, the wallets that agents pay from, and what the backup did not have."""

from datetime import datetime
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.payment import Settlement
from autopay.domain.values import Value


class AccountOwner(Value):
    """A wallet whose token accounts agents pay from, and the agent to book what is found there for."""

    wallet: str
    agent_id: UUID
    agent: str


class FenceRecord(Value):
    """A fence that is up: nothing is signed. `height`, once read, is the last block where an older payment can land."""

    reason: str
    raised_at: datetime
    height: int | None


class ForgottenPayment(Value):
    """A finalized transfer by a session key that the ledger has no attempt for: it was signed after the backup.

    By its `memo` it is recognised when its request comes again: an HMAC over agent, request and attempt, unless the
    seller fixed it.
    """

    session_id: UUID
    network: Network
    currency: Currency
    settlement: Settlement
    source_account: str
    message_hash: str
    memo: str | None


class ForgottenSession(Value):
    """A session that was granted after the backup: its key is lost, its source account is still the owner's."""

    agent_id: UUID
    currency: Currency
    mint: str
    owner: str
    source_account: str
    authority: str
    allowance_atomic: int
