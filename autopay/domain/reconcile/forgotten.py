"""What a restored ledger forgot: payments that the chain shows and no attempt explains. Pure.

A backup knows nothing of what was signed after it. Behind the fence such payments are booked as what they are, money
that left, and by their memo they are recognised when their request comes again: the memo is an HMAC over agent,
request and attempt, unless the seller fixed it.
"""

from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.payment import Settlement
from autopay.domain.values import Value


class ForgottenPayment(Value):
    """A finalized transfer by a session's key that the ledger has no attempt for; `memo` as the transaction has it."""

    session_id: UUID
    network: Network
    currency: Currency
    settlement: Settlement
    source_account: str
    message_hash: str
    memo: str | None


class ForgottenSession(Value):
    """A session that was granted after the backup: its account is the owner's, its key went with the lost ledger."""

    agent_id: UUID
    currency: Currency
    mint: str
    owner: str
    source_account: str
    authority: str
    allowance_atomic: int
