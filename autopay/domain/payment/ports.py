"""What the core needs of the world, as protocols. Adapters implement them; tests bring in-memory ones.

Every method may raise the faults of `errors.py` and nothing else; expected outcomes are return values.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from autopay.domain.money import Currency
from autopay.domain.payment.attempt import NO_CONTEXT, RecordedAttempt, SignedPayment, SigningContext, UnsignedPayment
from autopay.domain.payment.chain import (
    Blockhash,
    HistoryEntry,
    LandedTransaction,
    MintFacts,
    Tip,
    TokenAccount,
    TransactionState,
)
from autopay.domain.payment.exchange import Reply, RequestExtras, UnpaidReply
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import Payment, SellerAnswer, Settlement
from autopay.domain.payment.steps import PaidBefore, SettledAttempt
from autopay.domain.policy.policy import Awaiting, Decision
from autopay.domain.refusal import Refused
from autopay.domain.request import Method, RequestRecord, RequestResult
from autopay.domain.session import Booked, InFlight, OpenSession


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
    async def statuses(self, signatures: Sequence[str]) -> Sequence[TransactionState | None]:
        """What became of each of up to 256 transactions, at least confirmed; None for what the node does not know."""
        ...

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


class SessionFacts(Protocol):
    """An agent's sessions, as the ledger had them a few seconds ago at most; see `SessionStore`.

    Who finds that something speaks against a payment asks the `SessionStore` itself before saying so.
    """

    async def current(self, agent: str, currency: Currency) -> OpenSession | Refused: ...
    async def own_among(self, agent: str, addresses: Collection[str]) -> frozenset[str]: ...


class Confirmations(Protocol):
    """What became of transactions, asked for many payments at once. Raises what `Chain` raises."""

    async def of(self, signature: str) -> TransactionState | None: ...


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
    def is_transaction_of(self, attempt: RecordedAttempt, signature: str) -> bool:
        """Whether a transaction of that signature can only be the attempt's own: its fee payer's over its message."""
        ...

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

    async def close(self, request_key: str, result: RequestResult, settled: SettledAttempt | None = None) -> None:
        """End the request; a second call changes nothing; not while an attempt has no outcome.

        `settled` is booked first, as `record_seen` books it, in the same transaction.
        """
        ...


class PaymentStore(Protocol):
    """The attempts of requests. One payment calls its ledger in this order; each call is one transaction, and when the
    process dies right after it, this is what the ledger guarantees to the run that comes next:

    | call | after a death |
    |---|---|
    | `requests.accept` | the request is queued once: the same id and terms again change nothing |
    | `requests.begin`, `recall`, of every run but the first | it is no longer in the queue: adoption finds it |
    | `requests.record_plain`, unless an offer is agreed to | free content is stored and never bought |
    | `sessions.current` | reads only, but marks sessions EXPIRED whose time is over |
    | `sessions.own_among` | reads only |
    | `record_attempt` | the money is reserved and the signed bytes are kept: the next run gets the same attempt back,
    and no other attempt is recorded until this one is proven dead; or a person is asked, once for the same terms |
    | `record_sending`, of every send but a first run's first | the bytes may have left: the attempt stays reserved
    until the chain has shown its outcome |
    | `record_answer` | content and claims are stored; a delivered request is not asked for again |
    | `sessions.booked_up_to` | reads only |
    | `record_seen`, unless the content is here | the transfer is booked; at finalized it is VERIFIED for good |
    | `record_dead` | the reservation is free, and the next attempt may be recorded |
    | `requests.close` | what settled is booked and the end recorded: the same request id never pays again |

    A payment that goes well takes three of them: `record_attempt`, `record_answer` and `requests.close`.

    Raises LedgerUnavailable, NotMigrated, UnknownRequest or IllegalTransition.
    """

    async def recall(self, request_key: str) -> Payment:
        """The payment so far: attempts with their sends and outcomes, whether the content is stored."""
        ...

    async def attempt(self, request_key: str, number: int) -> RecordedAttempt | None: ...

    async def permit(
        self, request_key: str, offer: Offer, program: str, memos: Sequence[str], destination: str
    ) -> PaidBefore | Awaiting | Refused | None:
        """What `record_attempt` would say of these terms before it looks at sessions; None when they may be paid. Asked
        when the chain speaks against a payment, as what the ledger has against it tells more.

        PaidBefore: a payment that was booked after a restore has one of these memos. Awaiting: a person has been
        asked, and has not answered. Raises LedgerFenced while the ledger may have forgotten payments.
        """
        ...

    async def record_attempt(
        self,
        request_key: str,
        number: int,
        session_id: UUID,
        signed: SignedPayment,
        context: SigningContext = NO_CONTEXT,
    ) -> RecordedAttempt | PaidBefore | Awaiting | Refused:
        """Write-ahead: reserve the money against every limit and record the payment, in one transaction.

        Locks the agent, the session and the request; counts every attempt that is not FAILED as spent; uses up the
        approval that the terms need. Called again for the same number it returns what was recorded the first time,
        whatever `signed` says.

        Of a first run it takes the request from the queue, and records its challenge and its first send as well.
        Raises OrderDiffers when the run pays for another request than was recorded, and LedgerFenced when the chain
        leaves the session less than the ledger knows of: then the fence is up.
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

    async def in_flight(self, session_id: UUID) -> InFlight:
        """What attempts of the session have reserved that the chain has neither shown settled nor proven dead."""
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
