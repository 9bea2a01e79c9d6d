"""Checks the ledger's anchors and its VERIFIED payments against the Solana chain.

The ports are `AuditedLedger` and `AuditedChain`. Each question to the ledger is a database transaction of its own: the
chain may be slow, and a long transaction would hold the database back.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol
from uuid import UUID

from autopay.domain.audit.anchor import Anchor, AnchorOnChain, AnchorState, anchor_mismatch
from autopay.domain.audit.event_chain import AuditFindings
from autopay.domain.audit.events import Mismatch, MismatchReason
from autopay.domain.audit.ledger_check import ANCHORS_A_PAGE
from autopay.domain.audit.report import AuditFinding
from autopay.domain.network import Network
from autopay.domain.payment.chain import LandedTransaction, Transfer
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.settlement import verification_hash
from autopay.domain.progress import OnProgress, Progress, ignore_progress
from autopay.domain.values import Value

PAYMENTS_A_PAGE = 64


class VerifiedPayment(Value):
    """A payment that the ledger says is final on chain.

    `settlement` is None where the transfer is only partly recorded: by old versions, or after a restore.
    """

    id: UUID
    agent_id: UUID
    signature: str | None
    slot: int | None
    message_hash: str | None
    verification_hash: str | None
    settlement: Settlement | None


class AuditedLedger(Protocol):
    """What the check reads from the ledger."""

    async def verified(
        self, network: Network, agent_id: UUID | None, after: UUID | None, limit: int
    ) -> Sequence[VerifiedPayment]: ...

    async def anchors_on(self, network: Network, after: UUID | None, limit: int) -> Sequence[Anchor]: ...

    async def has_anchor(self, signature: str) -> bool: ...


class AuditedChain(Protocol):
    """What the check reads from the chain, at finalized; raises only faults."""

    async def first_available_slot(self) -> int: ...

    async def final_transaction(self, signature: str) -> LandedTransaction | None: ...

    async def anchor(self, signature: str) -> AnchorOnChain | None: ...

    def anchors_of(self, payer: str) -> AsyncIterator[AnchorOnChain]:
        """Every anchor that this wallet paid for, newest first."""
        ...


class SolanaCheck:
    """One check; adds to `findings`. `beyond` counts payments that are older than what the node still holds."""

    def __init__(
        self,
        ledger: AuditedLedger,
        chain: AuditedChain,
        network: Network,
        findings: AuditFindings,
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        self.ledger = ledger
        self.chain = chain
        self.network = network
        self.findings = findings
        self.on_progress = on_progress
        self.anchors = self.payments = self.beyond = 0
        self.newest: Anchor | None = None
        self._first_held_slot = 0

    async def check_anchors(self, wallet: str | None = None) -> None:
        """Every anchor of the ledger must be on chain, and every anchor of its wallets on chain must be in the ledger.

        Args:
            wallet: the one that must have paid for them; None: whichever the ledger names.
        """
        payers = {wallet} if wallet is not None else set[str]()
        after: UUID | None = None
        while page := await self.ledger.anchors_on(self.network, after, ANCHORS_A_PAGE):
            for anchor in page:
                if anchor.status is AnchorState.FINALIZED:
                    await self._check_anchor(anchor, wallet)
                    payers.add(anchor.payer)
            after = page[-1].id
            self.on_progress(Progress(f"{self.anchors} anchors on chain"))
        for payer in sorted(payers):
            async for seen in self.chain.anchors_of(payer):
                if not await self.ledger.has_anchor(seen.signature):
                    detail = (
                        f"wallet {payer} anchored in slot {seen.slot} what the ledger does not have: {seen.memos[0]}"
                    )
                    self.findings.add(AuditFinding(reason=MismatchReason.ANCHOR_UNKNOWN, detail=detail))

    async def _check_anchor(self, anchor: Anchor, wallet: str | None) -> None:
        wrong = anchor_mismatch(anchor, await self.chain.anchor(anchor.signature))
        if wrong is None and wallet is not None and anchor.payer != wallet:
            wrong = f"it was paid by {anchor.payer}, not by {wallet}"
        if wrong is not None:
            detail = f"the anchor of {anchor.created_at:%F %T} UTC: {wrong}"
            self.findings.add(
                AuditFinding(reason=MismatchReason.ANCHOR_NOT_ON_CHAIN, detail=detail, table="audit_anchors")
            )
        else:
            self.newest = anchor
        self.anchors += 1

    async def check_payments(self, agent_id: UUID | None = None) -> None:
        """Compute the verification hash of every VERIFIED payment again, from the transaction on chain."""
        self._first_held_slot = await self.chain.first_available_slot()
        after: UUID | None = None
        while page := await self.ledger.verified(self.network, agent_id, after, PAYMENTS_A_PAGE):
            for payment, wrong in zip(page, await asyncio.gather(*map(self._payment_mismatch, page)), strict=True):
                if wrong is not None:
                    self.findings.add(
                        AuditFinding(
                            reason=wrong.reason,
                            detail=wrong.detail,
                            agent_id=payment.agent_id,
                            table="transactions",
                            row_id=payment.id,
                        )
                    )
            after = page[-1].id
            self.payments += len(page)
            self.on_progress(Progress(f"{self.payments} payments on chain"))

    async def _payment_mismatch(self, payment: VerifiedPayment) -> Mismatch | None:
        if payment.signature is None or payment.verification_hash is None:
            return Mismatch(
                MismatchReason.PAYMENT_NOT_ON_CHAIN, "it is VERIFIED, and nothing is recorded that proves it"
            )
        landed = await self.chain.final_transaction(payment.signature)
        if landed is None and payment.slot is not None and payment.slot < self._first_held_slot:
            self.beyond += 1
            return None
        return payment_mismatch(self.network, payment, landed)


def payment_mismatch(network: Network, payment: VerifiedPayment, landed: LandedTransaction | None) -> Mismatch | None:
    """How the transaction on chain contradicts a VERIFIED payment; None when it does not."""
    name = f"transaction {payment.signature}"
    if landed is None or landed.failed:
        how = "failed" if landed is not None else "is not on chain, or not final"
        return Mismatch(MismatchReason.PAYMENT_NOT_ON_CHAIN, f"{name} {how}")
    if payment.message_hash not in (None, landed.message_hash):
        return Mismatch(MismatchReason.VERIFICATION_DIFFERS, f"{name} has another message than was signed")
    shown = [_settlement(landed, each) for each in landed.transfers]
    if payment.settlement is not None and payment.settlement not in shown:
        return Mismatch(MismatchReason.VERIFICATION_DIFFERS, f"{name} has another transfer than is recorded")
    if payment.verification_hash not in [verification_hash(network, each) for each in shown]:
        return Mismatch(MismatchReason.VERIFICATION_DIFFERS, f"{name} does not have the recorded verification hash")
    return None


def _settlement(landed: LandedTransaction, transfer: Transfer) -> Settlement:
    return Settlement(
        signature=landed.signature,
        slot=landed.slot,
        payer=transfer.authority,
        destination=transfer.destination,
        mint=transfer.mint,
        amount_atomic=transfer.amount_atomic,
    )
