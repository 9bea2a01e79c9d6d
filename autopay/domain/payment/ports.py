"""What the core needs of the world, as protocols. Adapters implement them; tests bring in-memory ones.

Every method may raise the faults of `errors.py` and nothing else; expected outcomes are return values.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.payment.attempt import RecordedAttempt, SignedPayment, UnsignedPayment
from autopay.domain.payment.chain import Blockhash, HistoryEntry, LandedTransaction, MintFacts, Tip, TokenAccount
from autopay.domain.payment.exchange import Reply, RequestExtras, UnpaidReply
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import Payment, SellerAnswer, Settlement
from autopay.domain.payment.steps import PaidBefore
from autopay.domain.policy.policy import Awaiting, Decision
from autopay.domain.refusal import Refused
from autopay.domain.request import Method, RequestRecord, RequestResult
from autopay.domain.session import Booked, OpenSession


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
    async def transaction(self, signature: str) -> LandedTransaction | None: ...
    async def history(
        self, account: str, *, until: str | None, final: bool, min_slot: int | None
    ) -> Sequence[HistoryEntry]:
        """The account's transactions, newest first, down to `until` (excluded), in as many pages as it takes."""
        ...


class SigningFacts(Protocol):
    """What a payment is built from, as the chain showed it a few seconds ago at most; see `Chain` for each.

    Who finds that something speaks against a payment asks the `Chain` itself before saying so.
    """

    async def latest_blockhash(self) -> Blockhash: ...
    async def mint_facts(self, mint: str) -> MintFacts | None: ...
    async def token_account(self, address: str) -> TokenAccount | None: ...
    async def newest_signature(self, account: str) -> str | None: ...


class Seller(Protocol):
    """An HTTP API. Raises SellerUnavailable when no complete answer came.

    `ask` is Refused when the URL, or the address behind it, may not be asked; `pay` is then SellerUnavailable.
    """

    async def ask(self, url: str, method: Method, extras: RequestExtras) -> UnpaidReply | Refused: ...
    async def pay(self, url: str, method: Method, extras: RequestExtras, version: int, payment: bytes) -> Reply: ...


class FeePayers(NamedTuple):
    """The addresses that facilitators sign as, and the hosts of those that did not answer."""

    addresses: frozenset[str]
    unanswered: tuple[str, ...] = ()


class Facilitator(Protocol):
    """Who may settle for sellers: the facilitators that the operator names."""

    async def fee_payers(self) -> FeePayers: ...
    async def objection(self, payment: bytes) -> str | None:
        """Why it would not settle this payment. Raises FacilitatorUnavailable."""
        ...


class Sealer(Protocol):
    """Seals secrets (AES-256-GCM), bound to what they are for. Raises SecretUnreadable."""

    def seal(self, secret: bytes, *, purpose: str, row: str) -> str: ...
    def open(self, sealed: str, *, purpose: str, row: str) -> bytes: ...


class Signer(Protocol):
    """Builds and signs a payment with the session key, decodes it again and compares it with the order."""

    def sign(self, order: UnsignedPayment, sealed_key: str) -> SignedPayment: ...
    def destination(self, offer: Offer, mint: MintFacts) -> str: ...
    def memos(self, agent: str, request_key: str, offer: Offer) -> Sequence[str]:
        """What the memo of any attempt of this request would be."""
        ...


class RequestStore(Protocol):
    """Requests: what was asked for, and how it ended.

    Raises LedgerUnavailable, NotMigrated, UnknownRequest or IllegalTransition.
    """

    async def begin(self, request_key: str) -> None:
        """Take the request from the queue (processed_at); a second call changes nothing."""
        ...

    async def get(self, request_key: str) -> RequestRecord: ...

    async def record_plain(self, request_key: str, plain: UnpaidReply) -> None:
        """What the seller said without a payment: status, challenge (x402_instructions), free content."""
        ...

    async def close(self, request_key: str, result: RequestResult) -> None:
        """End the request; a second call changes nothing; not while an attempt has no outcome."""
        ...


class PaymentStore(Protocol):
    """The attempts of requests. One payment calls its ledger in this order; each call is one transaction, and when the
    process dies right after it, this is what the ledger guarantees to the run that comes next:

    | call | after a death |
    |---|---|
    | `requests.accept` | the request is queued once: the same id and terms again change nothing |
    | `requests.begin` | it is no longer in the queue; adoption finds it, as it was begun and has not ended |
    | `recall` | reads only: attempts with their sends and outcomes; each run starts from it |
    | `requests.record_plain` | free content is stored and never bought; a challenge may be asked for again |
    | `sessions.current` | reads only, but marks sessions EXPIRED whose time is over |
    | `sessions.own_among` | reads only |
    | `permit` | nothing is reserved or signed; a question to a person is asked once for the same terms |
    | `record_attempt` | the money is reserved and the signed bytes are kept: the next run gets the same attempt back,
    and no other attempt is recorded until this one is proven dead |
    | `record_sending` | the bytes may have left: the attempt stays reserved until the chain has shown its outcome |
    | `record_answer` | content and claims are stored; a delivered request is not asked for again |
    | `sessions.booked_up_to` | reads only |
    | `record_seen` | the transfer is booked; at finalized it is VERIFIED, which nothing undoes |
    | `record_dead` | the reservation is free, and the next attempt may be recorded |
    | `requests.close` | the end is recorded: the same request id returns it and never pays again |

    Raises LedgerUnavailable, NotMigrated, UnknownRequest or IllegalTransition.
    """

    async def recall(self, request_key: str) -> Payment:
        """The payment so far: attempts with their sends and outcomes, whether the content is stored."""
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

    async def record_answer(self, attempt_id: UUID, reply: Reply, answer: SellerAnswer) -> None:
        """What came back: receipt (facilitator_response, claims), content and delivery, RETRYING when unclear."""
        ...

    async def record_seen(self, attempt_id: UUID, settlement: Settlement, *, final: bool) -> None:
        """The chain has it: SUCCESS at confirmed, VERIFIED at finalized, with hash, slot, verification_hash."""
        ...

    async def record_dead(self, attempt_id: UUID, reason: str) -> None:
        """Proven not settled: FAILED, error_type and error_code; releases the reservation."""
        ...


class SessionStore(Protocol):
    """Session keys, and what is reserved and booked against their allowances."""

    async def current(self, agent: str, currency: Currency) -> OpenSession | Refused:
        """The agent's newest ACTIVE session in that currency that has not ended; marks ended ones EXPIRED."""
        ...

    async def own_among(self, agent: str, addresses: Collection[str]) -> frozenset[str]:
        """Those of the addresses that are an owner, a key or an account of any session that the agent ever had."""
        ...

    async def in_flight_atomic(self, session_id: UUID) -> int:
        """Base units reserved by attempts of the session that the chain has neither shown settled nor proven dead."""
        ...

    async def booked_up_to(self, session_id: UUID, slot: int, besides: UUID | None = None) -> Booked:
        """The allowance, and what attempts other than `besides` have booked against it up to that slot."""
        ...


class PolicyStore(Protocol):
    """What people decide."""

    async def decide(self, decision: Decision) -> Refused | None:
        """Record a person's decision on terms that somebody was asked about; the same one again changes nothing.

        Refused: unknown or other terms, expired, or decided the other way.
        """
        ...


class FenceStore(Protocol):
    """The fence of a ledger that may not know all that was paid."""

    async def set(self, reason: str) -> None:
        """The ledger does not know all that was paid: nothing is signed from now on."""
        ...


class Ledger(Protocol):
    """The parts of the ledger that a payment uses; `PaymentStore` says in which order."""

    @property
    def requests(self) -> RequestStore: ...
    @property
    def payments(self) -> PaymentStore: ...
    @property
    def policies(self) -> PolicyStore: ...
    @property
    def sessions(self) -> SessionStore: ...
    @property
    def fence(self) -> FenceStore: ...
