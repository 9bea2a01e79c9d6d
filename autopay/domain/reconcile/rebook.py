"""After a restore: books what the chain has and the backup had not, and lifts the fence when both agree to the unit.

The steps, in this order:

1. wait until no payment that was signed before the fence can land any more: finality has passed the last height at
   which the newest blockhash of that moment was good;
2. book the sessions that were granted after the backup, found by the owners' token accounts;
3. book every transfer by a session key that has no attempt;
4. compare everything again, and the allowance that is left on chain with what is booked: if a node's history lacks a
   transaction, these differ, and the fence stays up.

An interrupted run leaves the fence up and keeps what is booked; the next run continues.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from autopay.domain.money import Currency, show
from autopay.domain.network import Network
from autopay.domain.payment.chain import Blockhash, Tip, TokenAccount
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.ports import SessionStore
from autopay.domain.progress import OnProgress, Progress
from autopay.domain.reconcile.checkpoint import Checkpoint
from autopay.domain.reconcile.compare import ComparedTransfer, Payer, ReconcileFinding
from autopay.domain.reconcile.report import ReconcileReport
from autopay.domain.reconcile.restored import AccountOwner, ForgottenPayment, ForgottenSession
from autopay.domain.reconcile.run import AccountHistory, BookedPayments, ReconcileRun
from autopay.domain.values import Value

POLL_S = 2.0


class Rebooked(Value):
    """What was booked; `problems` say why the fence is not `lifted`, or was lifted despite them."""

    lifted: bool
    sessions: int
    payments: int
    amount_atomic: dict[Currency, int]
    problems: tuple[str, ...]
    report: ReconcileReport


class RestoredPayments(BookedPayments, Protocol):
    """What is read from a restored ledger, and booked in it."""

    async def owners(self) -> Sequence[AccountOwner]: ...
    async def book_session(self, found: ForgottenSession) -> bool: ...
    async def book_forgotten(self, payment: ForgottenPayment) -> bool: ...
    async def newest_known_slot(self) -> int | None: ...


class RestoredFence(Protocol):
    """The fence that a restore raises, or a chain that has more than the ledger."""

    async def note_height(self, height: int) -> int: ...
    async def lift(self, why: str) -> None: ...


class RestoredLedger(Protocol):
    """The parts of the ledger that are used here."""

    @property
    def reconciliation(self) -> RestoredPayments: ...
    @property
    def fence(self) -> RestoredFence: ...
    @property
    def sessions(self) -> SessionStore: ...


class OwnersHistory(AccountHistory, Protocol):
    """What is read from the chain."""

    async def latest_blockhash(self) -> Blockhash: ...
    async def finalized_tip(self) -> Tip: ...
    async def token_account(
        self, address: str, *, final: bool = False, min_slot: int | None = None
    ) -> TokenAccount | None: ...
    async def memo(self, signature: str) -> str | None: ...
    async def accounts_of(self, owner: str, mint: str) -> Sequence[TokenAccount]:
        """The wallet's token accounts of that mint at finalized, without its associated one."""
        ...

    async def payers_from(self, account: TokenAccount) -> dict[str, int]:
        """Who beside the owner moved money out of the account, and how many base units in all."""
        ...


class Rebooking:
    """One run; `sleep` waits so many seconds between reads of the chain; `despite` is a person's reason to lift the
    fence in spite of problems."""

    def __init__(
        self,
        ledger: RestoredLedger,
        chain: OwnersHistory,
        network: Network,
        mints: dict[Currency, str],
        sleep: Callable[[float], Awaitable[None]],
        on_progress: OnProgress,
        despite: str | None = None,
    ) -> None:
        self._payments = ledger.reconciliation
        self._fence = ledger.fence
        self._sessions = ledger.sessions
        self._chain = chain
        self._network = network
        self._mints = mints
        self._sleep = sleep
        self._on_progress = on_progress
        self._despite = despite

    async def run(self) -> Rebooked:
        """Wait, book, compare, and lift the fence when there is no problem."""
        await self._wait_until_nothing_can_land()
        sessions = await self._book_forgotten_sessions()
        found = await self._book_forgotten_payments()
        compared, report = await self._compare()
        pruning = await self._pruning_problem()
        problems = [
            f"reconcile: {entry.reason.value}, {entry.transaction or entry.request_id}"
            for entry in (*report.unmatched_chain, *report.unmatched_ledger)
        ]
        problems += pruning
        for payer in compared:
            problems += await self._allowance_problem(payer, report.as_of_slot)
        why = f"reconciled as of slot {report.as_of_slot}: {len(found)} payments booked"
        if problems and self._despite:
            why = f"{why}; a person says, in spite of {len(problems)} problems: {self._despite}"
        lifted = not problems or self._despite is not None
        if lifted:
            await self._fence.lift(why)
        amounts: dict[Currency, int] = {}
        for each in found:
            amounts[each.currency] = amounts.get(each.currency, 0) + each.settlement.amount_atomic
        return Rebooked(
            lifted=lifted,
            sessions=sessions,
            payments=len(found),
            amount_atomic=amounts,
            problems=tuple(problems),
            report=report,
        )

    async def _wait_until_nothing_can_land(self) -> None:
        height = await self._fence.note_height((await self._chain.latest_blockhash()).last_valid_block_height)
        while (now := (await self._chain.finalized_tip()).block_height) <= height:
            self._show(f"payments signed before the fence can land for {height - now + 1} more blocks")
            await self._sleep(POLL_S)

    async def _book_forgotten_sessions(self) -> int:
        known = {payer.source_account for payer in await self._payments.payers(None)}
        booked = 0
        for owner in await self._payments.owners():
            for currency, mint in self._mints.items():
                for account in await self._chain.accounts_of(owner.wallet, mint):
                    if account.address not in known:
                        booked += await self._book_sessions(owner, currency, account)
        return booked

    async def _book_sessions(self, owner: AccountOwner, currency: Currency, account: TokenAccount) -> int:
        moved = await self._chain.payers_from(account)
        if account.delegate is not None:
            moved.setdefault(account.delegate, 0)
        booked = 0
        for authority, amount in sorted(moved.items()):
            left = account.delegated_atomic if authority == account.delegate else 0
            self._show(f"account {account.address} of {owner.wallet} belongs to a session that was forgotten")
            session = ForgottenSession(
                agent_id=owner.agent_id,
                currency=currency,
                mint=account.mint,
                owner=owner.wallet,
                source_account=account.address,
                authority=authority,
                allowance_atomic=left + amount,
            )
            booked += await self._payments.book_session(session)
        return booked

    async def _book_forgotten_payments(self) -> list[ForgottenPayment]:
        run = self._walk()
        await run.run()
        found = []
        for payer, compared in run.with_finding(ReconcileFinding.UNKNOWN_TO_LEDGER):
            payment = await self._forgotten_payment(payer, compared)
            if await self._payments.book_forgotten(payment):
                price = show(payment.settlement.amount_atomic, payment.currency)
                self._show(f"booked {price} that {payer.agent} paid in {payment.settlement.signature}")
                found.append(payment)
        return found

    async def _forgotten_payment(self, payer: Payer, compared: ComparedTransfer) -> ForgottenPayment:
        assert compared.transfer is not None
        found = compared.transfer
        return ForgottenPayment(
            session_id=payer.session_id,
            network=self._network,
            currency=payer.currency,
            settlement=Settlement(
                signature=found.signature,
                slot=found.slot,
                payer=found.transfer.authority,
                destination=found.transfer.destination,
                mint=found.transfer.mint,
                amount_atomic=found.transfer.amount_atomic,
            ),
            source_account=payer.source_account,
            message_hash=found.message_hash,
            memo=await self._chain.memo(found.signature),
        )

    async def _compare(self) -> tuple[Sequence[Payer], ReconcileReport]:
        run = self._walk()
        report = await run.run()
        return [each.payer for each in run.walked], report

    async def _pruning_problem(self) -> list[str]:
        """A node that no longer holds the slots after the backup cannot show what was paid in them."""
        held, known = await self._chain.first_available_slot(), await self._payments.newest_known_slot()
        if known is None or held <= known:
            return []
        return [f"the node holds no slot before {held}; the newest payment of the backup is in slot {known}"]

    async def _allowance_problem(self, payer: Payer, slot: int) -> list[str]:
        """Compare what is left of a session's allowance on chain with what is booked up to the slot of that reading."""
        account = await self._chain.token_account(payer.source_account, final=True, min_slot=slot)
        if account is None:
            return []  # closed: what it held is the owner's again, and nothing can be signed with it
        booked = await self._sessions.booked_up_to(payer.session_id, account.slot)
        left = account.delegated_atomic if account.delegate == payer.authority else 0
        missing = booked.allowance_atomic - booked.settled_atomic - left
        if account.delegate != payer.authority and missing == account.amount_atomic:
            return []  # revoked, and all that is not booked is still there
        if missing == 0:
            return []
        amount = show(abs(missing), payer.currency)
        how = "moved by its key and in no transaction that the node shows" if missing > 0 else "booked and not moved"
        return [f"session {payer.session_id}: {amount} {how}"]

    def _walk(self) -> ReconcileRun:
        checkpoint = Checkpoint(network=self._network)
        return ReconcileRun(self._payments, self._chain, self._network, checkpoint, on_progress=self._on_progress)

    def _show(self, text: str) -> None:
        self._on_progress(Progress(text))
