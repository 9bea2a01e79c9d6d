"""What the core needs of the world, as protocols. Adapters implement them; tests bring in-memory ones.

Every method may raise the faults of `errors.py` and nothing else; expected outcomes are return values.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from autopay.domain.agent.spec import Phase
from autopay.domain.money import Currency
from autopay.domain.payment.attempt import (
    Blockhash,
    Landed,
    MintFacts,
    RecordedAttempt,
    SessionKey,
    Sighting,
    SignedPayment,
    Tip,
    TokenAccount,
)
from autopay.domain.payment.offer import Challenge, Offer, Refused
from autopay.domain.payment.payment import Answer, Payment, Settlement
from autopay.domain.payment.steps import Backlog, Enqueued
from autopay.domain.policy.policy import Awaiting, Decision
from autopay.domain.reconcile.forgotten import PaidBefore
from autopay.domain.request import Method, RequestResult, RequestSpec


class Booked(BaseModel):
    """A session's allowance, and what the ledger has booked as settled on chain against it up to a slot."""

    model_config = ConfigDict(frozen=True)

    allowance_atomic: int
    settled_atomic: int


BookedOn = Callable[[UUID, int, UUID], Awaitable[Booked]]
"""(session, slot, attempt) → what attempts other than that one have booked against the session up to that slot."""


class Chain(Protocol):
    """A Solana RPC node. `final=True` reads at finalized, otherwise at confirmed; `min_slot` is minContextSlot.

    Raises ChainUnavailable, NodeBehind (min_slot not reached) or WrongNetwork.
    """

    async def genesis_hash(self) -> str: ...
    async def latest_blockhash(self) -> Blockhash: ...
    async def finalized_tip(self) -> Tip: ...
    async def first_available_slot(self) -> int: ...
    async def mint_facts(self, mint: str) -> MintFacts | None: ...
    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None: ...
    async def newest_signature(self, account: str) -> str | None: ...
    async def transaction(self, signature: str) -> Landed | None: ...
    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[Sighting]:
        """The account's transactions, newest first, down to `until` (excluded), in as many pages as it takes."""
        ...


class Extras(BaseModel):
    """Headers and body of a request: what may hold secrets, opened just before it is sent."""

    model_config = ConfigDict(frozen=True)

    headers: dict[str, str] = {}
    body: bytes | None = None


class Receipt(BaseModel):
    """A seller's settlement receipt (PAYMENT-RESPONSE): a claim that the chain confirms or not."""

    model_config = ConfigDict(frozen=True)

    success: bool
    transaction: str | None = None
    error_reason: str | None = None


class Reply(BaseModel):
    """What a seller sent back, already bounded in size."""

    model_config = ConfigDict(frozen=True)

    http_status: int
    content_type: str | None = None
    body: bytes = b""
    claim: Receipt | None = None
    receipt: dict[str, object] | None = None
    retry_after_ms: int | None = None


class Plain(BaseModel):
    """The seller's answer to a request without a payment; `breaker` is how the agent's stood when it was asked."""

    model_config = ConfigDict(frozen=True)

    reply: Reply
    challenge: Challenge | Refused | None = None
    breaker: str | None = None


class Seller(Protocol):
    """An HTTP API. Raises SellerUnavailable when no complete answer came.

    `ask` is Refused when the URL, or the address behind it, may not be asked; `pay` is then SellerUnavailable.
    """

    async def ask(self, url: str, method: Method, extras: Extras) -> Plain | Refused: ...
    async def pay(self, url: str, method: Method, extras: Extras, version: int, payment: bytes) -> Reply: ...


class Facilitator(Protocol):
    """Who settles for sellers. Raises FacilitatorUnavailable."""

    async def fee_payers(self) -> frozenset[str]: ...
    async def objection(self, payment: bytes) -> str | None: ...


class PaymentOrder(BaseModel):
    """All that a payment is built from; what was decided, and what the chain says about the accounts."""

    model_config = ConfigDict(frozen=True)

    agent: str
    request_key: str
    number: int
    offer: Offer
    session: SessionKey
    mint: MintFacts
    blockhash: Blockhash
    newest_prior_signature: str | None


class Vault(Protocol):
    """Seals secrets (AES-256-GCM), bound to what they are for. Raises SecretUnreadable."""

    def seal(self, secret: bytes, *, purpose: str, row: str) -> str: ...
    def open(self, sealed: str, *, purpose: str, row: str) -> bytes: ...


class Signer(Protocol):
    """Builds and signs a payment with the session key, decodes it again and compares it with the order."""

    def sign(self, order: PaymentOrder, sealed_key: str) -> SignedPayment: ...
    def destination(self, offer: Offer, mint: MintFacts) -> str: ...
    def memos(self, agent: str, request_key: str, offer: Offer) -> Sequence[str]:
        """What the memo of any attempt of this request would be."""
        ...


class AgentRecord(BaseModel):
    """An agent as the ledger has it."""

    model_config = ConfigDict(frozen=True)

    agent_id: UUID
    name: str
    phase: Literal["DEMO", "INTERACTIVE", "FULL"]
    wallet_address: str
    priority_rules: dict[str, object] | None = None


class OpenSession(BaseModel):
    """A session that can pay now, with its sealed key."""

    model_config = ConfigDict(frozen=True)

    key: SessionKey
    sealed_key: str
    spent_atomic: int
    payments: int
    tx_limit: int
    expires_at: datetime


class RequestRecord(BaseModel):
    """A request as the ledger has it: what was asked, how it stands; `closed` once nothing can change any more."""

    model_config = ConfigDict(frozen=True)

    request_key: str
    agent_id: UUID
    agent: str
    spec: RequestSpec
    result: RequestResult
    closed: bool = False


class Queued(BaseModel):
    """A request that waits in `priority_queue`."""

    model_config = ConfigDict(frozen=True)

    request_id: str
    url: str
    priority_score: float
    queued_at: datetime


class Ledger(Protocol):
    """The PostgreSQL ledger. Every method is one database transaction, committed when it returns.

    Raises LedgerUnavailable, NotMigrated, UnknownAgent, UnknownRequest or IllegalTransition.
    """

    async def agent(self, name: str) -> AgentRecord: ...

    async def accept(self, agent: str, spec: RequestSpec, priority_score: float, queue_limit: int) -> Refused | None:
        """Record the request and queue it, once: the same id and terms again change nothing.

        Refused: TERMS_DIFFER for a known id with other terms, QUEUE_FULL when `queue_limit` rows wait.
        """
        ...

    async def queue(self, agent: str) -> Sequence[Queued]:
        """What waits, highest score first, then oldest first."""
        ...

    async def open_requests(self, agent: str) -> Sequence[str]:
        """Request ids that were taken from the queue and have not ended."""
        ...

    async def begin(self, request_key: str) -> None:
        """Take the request from the queue (processed_at)."""
        ...

    async def request(self, request_key: str) -> RequestRecord: ...

    async def recall(self, request_key: str) -> Payment:
        """The payment as it stands: attempts with their sends and outcomes, whether the content is stored."""
        ...

    async def record_plain(self, request_key: str, plain: Plain) -> None:
        """What the seller said without a payment: status, challenge (x402_instructions), free content."""
        ...

    async def session(self, agent: str, currency: Currency) -> OpenSession | Refused:
        """The agent's newest ACTIVE session in that currency that has not ended; marks ended ones EXPIRED."""
        ...

    async def attempt(self, request_key: str, number: int) -> RecordedAttempt | None: ...

    async def permit(
        self, request_key: str, offer: Offer, program: str, memos: Sequence[str], destination: str
    ) -> PaidBefore | Awaiting | Refused | None:
        """Whether these terms may be paid, before anything is signed; None when they may. `record_attempt` judges
        again.

        PaidBefore: a payment that was booked after a restore has one of these memos. Awaiting: a person has been
        asked, and has not answered. Raises LedgerFenced while the ledger may have forgotten payments.
        """
        ...

    async def raise_fence(self, reason: str) -> None:
        """The ledger does not know all that was paid: nothing is signed from now on."""
        ...

    async def decide(self, decision: Decision) -> Refused | None:
        """Record a person's word on terms that somebody was asked about; the same word again changes nothing.

        Refused: unknown or other terms, expired, or decided the other way.
        """
        ...

    async def record_attempt(
        self, request_key: str, number: int, session_id: UUID, signed: SignedPayment
    ) -> RecordedAttempt | Awaiting | Refused:
        """Write-ahead: reserve the money against every limit and record the payment, in one transaction.

        Locks the agent, the session and the request; counts every attempt that is not FAILED as spent; uses up the
        approval that the terms need. Called again for the same number it returns what was recorded the first time,
        whatever `signed` says.
        """
        ...

    async def record_sending(self, attempt_id: UUID) -> int:
        """About to hand the bytes over: counts the send (retry columns), PENDING becomes RETRYING from the second
        on. Returns the number of this send, from 1."""
        ...

    async def record_answer(self, attempt_id: UUID, reply: Reply, receipt: Receipt | None, answer: Answer) -> None:
        """What came back: receipt (facilitator_response, claims), content and delivery, RETRYING when unclear."""
        ...

    async def record_seen(self, attempt_id: UUID, settlement: Settlement, *, final: bool) -> None:
        """The chain has it: SUCCESS at confirmed, VERIFIED at finalized, with hash, slot, verification_hash."""
        ...

    async def record_dead(self, attempt_id: UUID, reason: str) -> None:
        """Proven not settled: FAILED, error_type and error_code; releases the reservation."""
        ...

    async def close(self, request_key: str, result: RequestResult) -> None:
        """The request has ended this way; the first end stands."""
        ...

    async def unsettled(self, session_id: UUID) -> int:
        """Base units reserved by attempts of the session that are neither settled (SUCCESS, VERIFIED) nor FAILED."""
        ...

    async def booked_on(self, session_id: UUID, slot: int, besides: UUID | None = None) -> Booked: ...

    async def record_balance(
        self,
        agent: str,
        currency: Currency,
        balance_atomic: int,
        threshold_atomic: int,
        status: Literal["SUFFICIENT", "LOW", "PAUSED"],
    ) -> None: ...


class AgentLedger(Ledger, Protocol):
    """What an agent asks of the ledger, beyond what a payment does."""

    async def set_phase(self, name: str, phase: Phase) -> None:
        """How much the agent may do without a person, from the next payment on that is signed."""
        ...

    async def backlog(self, agent: str) -> Backlog:
        """Requests that have not ended: in the queue, or begun; the oldest first. `asked`: since when a person is."""
        ...

    async def ended_among(
        self, agent: str, request_ids: Sequence[str]
    ) -> tuple[Sequence[RequestResult], Sequence[str]]:
        """The results of those that have ended, and the ids that the ledger does not know."""
        ...

    async def answer_fresh(self, agent: str, spec: RequestSpec, since: datetime) -> Enqueued | None:
        """Record a new request and end it as FRESH, if the agent has content for the same method, URL and body hash
        that came after `since`; None when it has not, or when the id is known."""
        ...


class AccountWatch(Protocol):
    """Tells when token accounts change on chain. Raises ChainUnavailable."""

    async def changed(self, accounts: tuple[str, ...], timeout_s: float) -> bool:
        """Returns True as soon as one of the accounts changes after the call, False after `timeout_s`."""
        ...
