"""Step 3: reserve the money and record the signed payment, in one database transaction. Nothing leaves before.

| crash at | leaves |
|---|---|
| before `record_attempt` commits | nothing: the signature is forgotten, its bytes were never anywhere else |
| after it commits | the recorded attempt; asked again, it is returned as it is, whatever the offer says by then |
"""

import asyncio

from temporalio import activity

from autopay.domain.errors import LedgerFenced
from autopay.domain.money import price_text, show
from autopay.domain.payment.attempt import RecordedAttempt, UnsignedPayment
from autopay.domain.payment.chain import MintFacts, TokenAccount
from autopay.domain.payment.offer import Offer
from autopay.domain.payment.ports import Chain, Ledger, Signer, SigningFacts
from autopay.domain.payment.steps import SignedAttempt, SignInput, SignResult
from autopay.domain.refusal import RefusalReason, Refused
from autopay.domain.session import OpenSession


def summary_of(attempt: RecordedAttempt) -> SignedAttempt:
    """What the workflow needs to know of a recorded attempt."""
    return SignedAttempt(
        attempt_id=attempt.attempt_id,
        number=attempt.number,
        currency=attempt.currency,
        amount_atomic=attempt.amount_atomic,
        pay_to=attempt.pay_to,
    )


class SignStep:
    """Builds, signs and records one attempt; idempotent by request and number.

    Args:
        chain: asked itself before anything is refused for what it shows.
        recent: the same chain, some seconds ago.
    """

    def __init__(self, ledger: Ledger, chain: Chain, recent: SigningFacts, signer: Signer) -> None:
        self._ledger = ledger
        self._chain = chain
        self._recent = recent
        self._signer = signer

    @activity.defn(name="sign")
    async def sign(self, to_sign: SignInput) -> SignResult:
        """The recorded attempt, new or not; Refused by a limit or an account, or Awaiting a person's decision."""
        order, offer = to_sign.order, to_sign.offer
        recorded = await self._ledger.payments.attempt(order.request_key, to_sign.number)
        if recorded is not None:
            return summary_of(recorded)
        session = await self._ledger.sessions.current(order.agent, offer.currency)
        if isinstance(session, Refused):
            return session
        mint = await self._usable_mint(self._recent, offer)
        if isinstance(mint, Refused):
            mint = await self._usable_mint(self._chain, offer)
        if isinstance(mint, Refused):
            return mint
        if offer.fee_payer == self._signer.destination(offer.model_copy(update={"pay_to": session.key.owner}), mint):
            message = "extra.feePayer is the owner's own token account, which cannot pay fees"
            return Refused(reason=RefusalReason.FEE_PAYER_INVALID, message=message)
        destination = self._signer.destination(offer, mint)
        # The seller's memo, if it fixes one, and ours: it may have fixed none when it was paid before.
        offers = (offer, offer.model_copy(update={"memo": None}))
        memos = [memo for each in offers for memo in self._signer.memos(order.agent, order.request_key, each)]
        not_now = await self._ledger.payments.permit(order.request_key, offer, mint.program, memos, destination)
        if not_now is not None:
            return not_now
        newest, blockhash, refused = await asyncio.gather(
            self._recent.newest_signature(session.key.source_account),
            self._recent.latest_blockhash(),
            self._accounts(self._recent, order.agent, offer, session, destination),
        )
        if refused is not None:
            refused = await self._accounts(self._chain, order.agent, offer, session, destination)
        if refused is not None:
            return refused
        unsigned = UnsignedPayment(
            agent=order.agent,
            request_key=order.request_key,
            number=to_sign.number,
            offer=offer,
            session=session.key,
            mint=mint,
            newest_prior_signature=newest,
            blockhash=blockhash,
        )
        signed = self._signer.sign(unsigned, session.sealed_key)
        result = await self._ledger.payments.record_attempt(
            order.request_key, to_sign.number, session.key.session_id, signed
        )
        return summary_of(result) if isinstance(result, RecordedAttempt) else result

    async def _usable_mint(self, chain: SigningFacts, offer: Offer) -> MintFacts | Refused:
        mint = await chain.mint_facts(offer.mint)
        if mint is None:
            return Refused(reason=RefusalReason.MINT_UNUSABLE, message=f"there is no mint {offer.mint} on this network")
        if mint.unusable is not None:
            return Refused(reason=RefusalReason.MINT_UNUSABLE, message=mint.unusable)
        return mint

    async def _accounts(
        self, chain: SigningFacts, agent: str, offer: Offer, opened: OpenSession, destination: str
    ) -> Refused | None:
        """The chain's own limits, before it has to say no: source, allowance, balance, destination."""
        session = opened.key
        source, payee = await asyncio.gather(
            chain.token_account(session.source_account), chain.token_account(destination)
        )
        price = price_text(offer)
        if source is None:
            return Refused(
                reason=RefusalReason.SOURCE_ACCOUNT_MISSING,
                message=f"the session's account {session.source_account} is gone",
            )
        if source.amount_atomic < offer.amount_atomic:
            held = show(source.amount_atomic, offer.currency)
            return Refused(
                reason=RefusalReason.INSUFFICIENT_FUNDS, message=f"{price} is asked, the account holds {held}"
            )
        if source.delegate != session.authority or source.delegated_atomic < offer.amount_atomic:
            return Refused(
                reason=RefusalReason.ALLOWANCE_EXHAUSTED,
                message=f"{price} is asked, more than the chain still allows the session",
            )
        await self._require_known(agent, opened, source)
        if payee is None:
            return Refused(
                reason=RefusalReason.PAYEE_ACCOUNT_MISSING,
                message=f"the payee {offer.pay_to} has no {offer.currency} account, so a payment could not land",
            )
        return None

    async def _require_known(self, agent: str, opened: OpenSession, source: TokenAccount) -> None:
        """The delegate has moved no more on chain than the ledger knows of.

        What settles was reserved before: a session that is read after the chain has every payment that the chain
        showed. If more is gone all the same, the ledger was restored, or is not the only one.

        Raises:
            LedgerFenced: it has.
        """
        key = opened.key
        if source.delegated_atomic >= key.allowance_atomic - opened.spent_atomic:
            return
        again = await self._ledger.sessions.current(agent, key.currency)
        if isinstance(again, Refused) or again.key.session_id != key.session_id:
            return  # it ended meanwhile, and pays nothing more
        missing = key.allowance_atomic - again.spent_atomic - source.delegated_atomic
        if missing > 0:
            reason = f"session {key.session_id} moved {show(missing, key.currency)} more than the ledger knows of"
            await self._ledger.fence.set(reason)
            raise LedgerFenced(reason)
