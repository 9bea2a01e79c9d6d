"""Sessions: keys that may pay from an owner's token account, within an allowance that the chain enforces."""

from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.phase import Phase
from autopay.domain.text.durations import parse_whole_seconds
from autopay.domain.values import Value

DEFAULT_SCOPES = {Phase.DEMO: (3, "1h"), Phase.INTERACTIVE: (100, "1d"), Phase.FULL: (10_000, "7d")}
"""How many payments a session allows, and how long it lasts, when nobody says."""

MAX_TX_LIMIT = 1_000_000
MAX_SESSION_S = 366 * 86_400


def session_scope(phase: Phase, tx_limit: int | None, duration_s: int | None) -> tuple[int, int]:
    """How many payments a session allows, and how many seconds it lasts: what is given, else what suits the phase."""
    payments, lasts = DEFAULT_SCOPES[phase]
    return tx_limit or payments, duration_s or parse_whole_seconds(lasts)


class SessionKey(Value):
    """A session that may pay: the delegate key's public half, what it draws from, and the chain's own cap on it."""

    session_id: UUID
    agent_id: UUID
    currency: Currency
    mint: str
    source_account: str
    owner: str
    authority: str
    allowance_atomic: int


class SessionStatus(StrEnum):
    """`sessions.status`."""

    ACTIVE = "ACTIVE"
    EXPIRED = "EXPIRED"
    REVOKED = "REVOKED"


SessionState = Literal["WAITING", "ACTIVE", "EXPIRED", "REVOKED"]


class OpenSession(Value):
    """A session that can pay now, with its sealed key."""

    key: SessionKey
    sealed_key: str
    spent_atomic: int
    payments: int
    tx_limit: int
    expires_at: datetime


class ClaimedPayment(Value):
    """A payment that a receipt calls settled, as `signature`, and that the ledger has not seen on chain yet.

    `blockhash_slot` and `newest_prior_signature` are from before it: it is later than both in its account's history.
    """

    signature: str
    amount_atomic: int
    blockhash_slot: int
    newest_prior_signature: str | None


class InFlight(Value):
    """What a session has reserved and the ledger has not seen on chain: base units of all, and those of it that
    receipts call settled, oldest first."""

    amount_atomic: int
    claimed: tuple[ClaimedPayment, ...] = ()


class Booked(Value):
    """A session's allowance, and what the ledger has booked as settled on chain against it up to a slot."""

    allowance_atomic: int
    settled_atomic: int


class OwnerTransaction(Value):
    """What the owner of a session's account is asked to sign: the message in base64, and how long it can land.

    `rent_lamports` is what it lends to the account that it opens.
    """

    does: Literal["grant", "revoke"]
    message: str
    last_valid_block_height: int
    rent_lamports: int = 0


class SessionRecord(Value):
    """A session without its key; `reserved_atomic` and `payments` count every attempt that is not FAILED.

    `duration_s` is how long it was granted for, `spent_atomic` what of it settled, `open_payments` how many have no
    outcome yet. `granted` is False until the chain shows the owner's grant: `owner_transaction` is what it was asked
    to sign.
    """

    session_id: UUID
    agent: str
    status: Literal["ACTIVE", "EXPIRED", "REVOKED"]
    currency: Currency
    mint: str
    source_account: str
    owner: str
    authority: str
    allowance_atomic: int
    reserved_atomic: int
    payments: int
    tx_limit: int
    created_at: datetime
    expires_at: datetime
    spent_atomic: int = 0
    open_payments: int = 0
    duration_s: int = 0
    hosts: tuple[str, ...] = ()
    granted: bool = True
    owner_transaction: OwnerTransaction | None = None

    def state(self, now: datetime) -> SessionState:
        """What it is at that moment: WAITING until its owner has signed, EXPIRED from its end on."""
        if self.status == "ACTIVE" and not self.granted:
            return "WAITING"
        if self.status == "ACTIVE" and self.expires_at <= now:
            return "EXPIRED"
        return self.status


class NewSession(Value):
    """A session to be opened: what it may pay, from where, for how long, and its key, sealed.

    `owner_transaction` is what the owner has yet to sign; None when the grant is on chain already.
    """

    session_id: UUID
    agent: str
    currency: Currency
    mint: str
    source_account: str
    owner: str
    authority: str
    sealed_key: str
    allowance_atomic: int
    tx_limit: int
    duration_s: int
    hosts: tuple[str, ...] = ()
    owner_transaction: OwnerTransaction | None = None


class SessionGrants(Protocol):
    """The ledger's sessions, as far as granting one needs them. Raises LedgerUnavailable, NotMigrated, UnknownAgent."""

    async def create(self, new: NewSession) -> None:
        """Open a session; the same id again changes nothing. With `owner_transaction` it pays nothing, and ends no
        other, until `mark_granted` says that the chain shows that transaction."""
        ...

    async def get(self, session_id: UUID) -> SessionRecord | None: ...

    async def await_owner(self, session_id: UUID, transaction: OwnerTransaction) -> bool:
        """Record what the owner is asked to sign now; False when there is nothing to sign any more."""
        ...

    async def mark_granted(self, session_id: UUID) -> bool:
        """The chain shows the delegation: the session pays from now on; False when it has ended meanwhile."""
        ...

    async def end(self, session_id: UUID) -> bool:
        """Revoke a session and destroy its sealed key; False when it had ended already or is unknown."""
        ...
