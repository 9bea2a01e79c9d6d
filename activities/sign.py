"""Step 3: reserve the money and record the signed payment, in one database transaction. Nothing leaves before.

| crash at | leaves |
|---|---|
| before `record_attempt` commits | nothing: the signature is forgotten, its bytes were never anywhere else |
| after it commits | the recorded attempt; asked again, it is returned as it is, whatever the offer says by then |
"""

import asyncio
from typing import NamedTuple

from temporalio import activity

from activities.fetch import require_same_request
from activities.known_attempts import KnownAttempts
from autopay.domain.errors import PermanentFault
from autopay.domain.money import price_text, show
from autopay.domain.payment.attempt import Opening, RecordedAttempt, SigningContext, UnsignedPayment
from autopay.domain.payment.chain import Blockhash, MintFacts, TokenAccount
from autopay.domain.payment.exchange import Reply, UnpaidReply
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.payment import settled_sends_for
from autopay.domain.payment.ports import Chain, Ledger, SessionFacts, Signer, SigningFacts
from autopay.domain.payment.steps import PaidBefore, SignedAttempt, SignInput, SignResult
from autopay.domain.policy.policy import Awaiting
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import OpenSession


def summary_of(attempt: RecordedAttempt, max_settled_sends: int) -> SignedAttempt:
    """What the workflow needs to know of a recorded attempt."""
    return SignedAttempt(
        attempt_id=attempt.attempt_id,
        number=attempt.number,
        currency=attempt.currency,
        amount_atomic=attempt.amount_atomic,
        pay_to=attempt.pay_to,
        max_settled_sends=max_settled_sends,
        is_new=attempt.is_new,
    )


class Readings(NamedTuple):
    """Where the chain and the ledger's sessions are read: as they are now, or as they were some seconds ago."""

    chain: SigningFacts
    sessions: SessionFacts


class _Ready(NamedTuple):
    """All that a payment is built from beside the offer."""

    session: OpenSession
    mint: MintFacts
    destination: str
    source: TokenAccount | None
    payee: TokenAccount | None
    newest_signature: str | None
    blockhash: Blockhash


class SignStep:
    """Builds, signs and records one attempt; idempotent by request and number.

    Args:
        ledger, chain: asked themselves before anything is refused for what they show.
        recent: the same, some seconds ago.
        known: is told of attempts whose first send is counted with the recording; None when a facilitator sees the
            payment before the seller does, as it may not be sent then.
        ask_for_s: how long a seller is asked for what has settled.
    """

    def __init__(
        self,
        ledger: Ledger,
        chain: Chain,
        recent: Readings,
        signer: Signer,
        known: KnownAttempts | None,
        ask_for_s: float,
    ) -> None:
        self._ledger = ledger
        self._chain = chain
        self._recent = recent
        self._signer = signer
        self._known = known
        self._max_settled_sends = settled_sends_for(round(ask_for_s * 1000))

    @activity.defn(name="sign")
    async def sign(self, to_sign: SignInput) -> SignResult:
        """The recorded attempt, new or not; Refused by a limit or an account, or Awaiting a person's decision."""
        try:
            result = await self._sign(to_sign)
        except PermanentFault:
            await self._record_challenge(to_sign)
            raise
        if isinstance(result, RecordedAttempt):
            return summary_of(result, self._max_settled_sends)
        await self._record_challenge(to_sign)
        return result

    async def _record_challenge(self, to_sign: SignInput) -> None:
        """What a first run's seller asked, when no attempt was recorded with it. Raises OrderDiffers."""
        order, challenge = to_sign.order, to_sign.challenge
        if challenge is not None and order.accepted is not None:
            await require_same_request(self._ledger.requests, order)
            plain = UnpaidReply(reply=Reply(http_status=402), challenge=challenge, breaker=order.breaker)
            await self._ledger.requests.record_plain(order.request_key, plain)

    async def _sign(self, to_sign: SignInput) -> RecordedAttempt | PaidBefore | Awaiting | Refused:
        """With what is known of late; what that refuses is judged by what is true now."""
        order = to_sign.order
        if order.accepted is None:
            recorded = await self._ledger.payments.attempt(order.request_key, to_sign.number)
            if recorded is not None:
                return recorded
        result = await self._signed_by(self._recent, to_sign)
        if isinstance(result, Refused):
            result = await self._signed_by(Readings(self._chain, self._ledger.sessions), to_sign)
        if order.accepted is not None and not isinstance(result, RecordedAttempt):
            # It may have been recorded by a try that was not heard of, whose own reservation then speaks against it.
            result = await self._ledger.payments.attempt(order.request_key, to_sign.number) or result
        return result

    async def _signed_by(
        self, readings: Readings, to_sign: SignInput
    ) -> RecordedAttempt | PaidBefore | Awaiting | Refused:
        order, offer, accepted = to_sign.order, to_sign.offer, to_sign.order.accepted
        ready = await self._ready_to_sign(readings, order.agent, offer)
        if isinstance(ready, Refused):
            return ready
        # The seller's memo, if it fixes one, and ours: it may have fixed none when it was paid before.
        offers = (offer, offer.model_copy(update={"memo": None}))
        memos = [memo for each in offers for memo in self._signer.memos(order.agent, order.request_key, each)]
        refused = _refused_by_chain(offer, ready)
        if refused is not None:
            not_now = await self._ledger.payments.permit(
                order.request_key, offer, ready.mint.program, memos, ready.destination
            )
            return not_now or refused
        unsigned = UnsignedPayment(
            agent=order.agent,
            request_key=order.request_key,
            number=to_sign.number,
            offer=offer,
            session=ready.session.key,
            mint=ready.mint,
            newest_prior_signature=ready.newest_signature,
            blockhash=ready.blockhash,
        )
        signed = self._signer.sign(unsigned, ready.session.sealed_key)
        opening = None
        if accepted is not None:
            opening = Opening(terms_hash=accepted.terms_hash(), challenge=to_sign.challenge, breaker=order.breaker)
        context = SigningContext(
            memos=tuple(memos),
            delegated_atomic=ready.source.delegated_atomic if ready.source is not None else None,
            opening=opening,
            handed_over_next=accepted is not None and self._known is not None,
        )
        session_id = ready.session.key.session_id
        result = await self._ledger.payments.record_attempt(
            order.request_key, to_sign.number, session_id, signed, context
        )
        if isinstance(result, RecordedAttempt) and result.is_new and accepted is not None and self._known is not None:
            self._known.recorded(result, accepted.model_copy(update={"sealed_extras": None}))
        return result

    async def _ready_to_sign(self, readings: Readings, agent: str, offer: Offer) -> _Ready | Refused:
        """Session, mint, accounts and blockhash; what the chain is asked, it is asked together."""
        session = await readings.sessions.current(agent, offer.currency)
        if isinstance(session, Refused):
            return session
        mint = await readings.chain.mint_facts(offer.mint)
        if mint is None:
            return Refused(reason=RefusalReason.MINT_UNUSABLE, message=f"there is no mint {offer.mint} on this network")
        if mint.unusable is not None:
            return Refused(reason=RefusalReason.MINT_UNUSABLE, message=mint.unusable)
        if offer.fee_payer == self._signer.destination(offer.model_copy(update={"pay_to": session.key.owner}), mint):
            message = "extra.feePayer is the owner's own token account, which cannot pay fees"
            return Refused(reason=RefusalReason.FEE_PAYER_INVALID, message=message)
        destination = self._signer.destination(offer, mint)
        source, payee, newest, blockhash = await asyncio.gather(
            readings.chain.token_account(session.key.source_account),
            readings.chain.token_account(destination),
            readings.chain.newest_signature(session.key.source_account),
            readings.chain.latest_blockhash(),
        )
        return _Ready(session, mint, destination, source, payee, newest, blockhash)


def _refused_by_chain(offer: Offer, ready: _Ready) -> Refused | None:
    """The chain's own limits, before it has to say no: source, allowance, balance, destination."""
    session, source, price = ready.session.key, ready.source, price_text(offer)
    if source is None:
        return Refused(
            reason=RefusalReason.SOURCE_ACCOUNT_MISSING,
            message=f"the session's account {session.source_account} is gone",
        )
    if source.amount_atomic < offer.amount_atomic:
        held = show(source.amount_atomic, offer.currency)
        return Refused(reason=RefusalReason.INSUFFICIENT_FUNDS, message=f"{price} is asked, the account holds {held}")
    if source.delegate != session.authority or source.delegated_atomic < offer.amount_atomic:
        return Refused(
            reason=RefusalReason.ALLOWANCE_EXHAUSTED,
            message=f"{price} is asked, more than the chain still allows the session",
        )
    if ready.payee is None:
        return Refused(
            reason=RefusalReason.PAYEE_ACCOUNT_MISSING,
            message=f"the payee {offer.pay_to} has no {offer.currency} account, so a payment could not land",
        )
    return None
