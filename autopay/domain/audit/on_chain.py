"""The check of the ledger's proof against the Solana chain: its anchors, and what it says that was paid.

It does no I/O: `ProvenBooks` is the ledger, `ProofChain` the chain. Each question is a transaction of its own, as the
chain may take its time.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol
from uuid import UUID

from autopay.domain.audit.anchor import Anchor, AnchorOnChain, AnchorState, chain_misfit
from autopay.domain.audit.events import Misfit, Reason
from autopay.domain.audit.report import Finding
from autopay.domain.audit.run import ANCHORS_A_PAGE, Tell
from autopay.domain.audit.walk import Findings
from autopay.domain.network import Network
from autopay.domain.payment.chain import LandedTransaction, Transfer
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.verification import verification_hash
from autopay.domain.values import Value

PAYMENTS_A_PAGE = 64


class VerifiedPayment(Value):
    """A payment that the ledger says is final on chain.

    `settlement` is None where not all of the transfer is recorded: payments of old, or booked after a restore.
    """

    id: UUID
    agent_id: UUID
    signature: str | None
    slot: int | None
    message_hash: str | None
    verification_hash: str | None
    settlement: Settlement | None


class ProvenBooks(Protocol):
    """What the ledger is asked."""

    async def verified(
        self, network: Network, agent_id: UUID | None, after: UUID | None, limit: int
    ) -> Sequence[VerifiedPayment]: ...

    async def anchors_on(self, network: Network, after: UUID | None, limit: int) -> Sequence[Anchor]: ...

    async def has_anchor(self, signature: str) -> bool: ...


class ProofChain(Protocol):
    """What the chain is asked, at finalized; raises only faults."""

    async def first_available_slot(self) -> int: ...

    async def final_transaction(self, signature: str) -> LandedTransaction | None: ...

    async def anchor(self, signature: str) -> AnchorOnChain | None: ...

    def anchors_of(self, payer: str) -> AsyncIterator[AnchorOnChain]:
        """Every anchor that this wallet ever paid for, newest first."""
        ...


class ChainCheck:
    """One check. `beyond` counts payments that are older than what the node still holds."""

    def __init__(
        self,
        books: ProvenBooks,
        chain: ProofChain,
        network: Network,
        findings: Findings,
        tell: Tell = lambda *_: None,
    ) -> None:
        self.books = books
        self.chain = chain
        self.network = network
        self.findings = findings
        self.tell = tell
        self.anchors = self.payments = self.beyond = 0
        self.newest: Anchor | None = None
        self._first_held_slot = 0

    async def check_anchors(self, wallet: str | None = None) -> None:
        """Every anchor of the ledger on chain, and every one of its wallets on chain in the ledger.

        Args:
            wallet: whose anchors they must be; without it, whose they say they are.
        """
        payers = {wallet} if wallet is not None else set[str]()
        after: UUID | None = None
        while page := await self.books.anchors_on(self.network, after, ANCHORS_A_PAGE):
            for anchor in page:
                if anchor.status is AnchorState.FINALIZED:
                    await self._check_anchor(anchor, wallet)
                    payers.add(anchor.payer)
            after = page[-1].id
            self.tell("anchors on chain", self.anchors)
        for payer in sorted(payers):
            async for seen in self.chain.anchors_of(payer):
                if not await self.books.has_anchor(seen.signature):
                    detail = (
                        f"wallet {payer} anchored in slot {seen.slot} what the ledger does not have: {seen.memos[0]}"
                    )
                    self.findings.add(Finding(reason=Reason.ANCHOR_UNKNOWN, detail=detail))

    async def _check_anchor(self, anchor: Anchor, wallet: str | None) -> None:
        wrong = chain_misfit(anchor, await self.chain.anchor(anchor.signature))
        if wrong is None and wallet is not None and anchor.payer != wallet:
            wrong = f"it was paid by {anchor.payer}, not by {wallet}"
        if wrong is not None:
            detail = f"the anchor of {anchor.created_at:%F %T} UTC: {wrong}"
            self.findings.add(Finding(reason=Reason.ANCHOR_NOT_ON_CHAIN, detail=detail, table="audit_anchors"))
        else:
            self.newest = anchor
        self.anchors += 1

    async def check_payments(self, agent_id: UUID | None = None) -> None:
        """Every VERIFIED payment: its verification hash, computed again from the chain's blocks."""
        self._first_held_slot = await self.chain.first_available_slot()
        after: UUID | None = None
        while page := await self.books.verified(self.network, agent_id, after, PAYMENTS_A_PAGE):
            for payment, wrong in zip(page, await asyncio.gather(*map(self._judge, page)), strict=True):
                if wrong is not None:
                    self.findings.add(
                        Finding(
                            reason=wrong.reason,
                            detail=wrong.detail,
                            agent_id=payment.agent_id,
                            table="transactions",
                            row_id=payment.id,
                        )
                    )
            after = page[-1].id
            self.payments += len(page)
            self.tell("payments on chain", self.payments)

    async def _judge(self, payment: VerifiedPayment) -> Misfit | None:
        if payment.signature is None or payment.verification_hash is None:
            return Misfit(Reason.PAYMENT_NOT_ON_CHAIN, "it is VERIFIED, and nothing is recorded that proves it")
        landed = await self.chain.final_transaction(payment.signature)
        if landed is None and payment.slot is not None and payment.slot < self._first_held_slot:
            self.beyond += 1
            return None
        return payment_misfit(self.network, payment, landed)


def payment_misfit(network: Network, payment: VerifiedPayment, landed: LandedTransaction | None) -> Misfit | None:
    """How the chain contradicts a VERIFIED payment, if it does."""
    name = f"transaction {payment.signature}"
    if landed is None or landed.failed:
        how = "failed" if landed is not None else "is not on chain, or not final"
        return Misfit(Reason.PAYMENT_NOT_ON_CHAIN, f"{name} {how}")
    if payment.message_hash not in (None, landed.message_hash):
        return Misfit(Reason.VERIFICATION_DIFFERS, f"{name} has another message than was signed")
    shown = [_shown(landed, each) for each in landed.transfers]
    if payment.settlement is not None and payment.settlement not in shown:
        return Misfit(Reason.VERIFICATION_DIFFERS, f"{name} has another transfer than is recorded")
    if payment.verification_hash not in [verification_hash(network, each) for each in shown]:
        return Misfit(Reason.VERIFICATION_DIFFERS, f"{name} has not the verification hash that is recorded")
    return None


def _shown(landed: LandedTransaction, transfer: Transfer) -> Settlement:
    return Settlement(
        signature=landed.signature,
        slot=landed.slot,
        payer=transfer.authority,
        destination=transfer.destination,
        mint=transfer.mint,
        amount_atomic=transfer.amount_atomic,
    )
