"""After a restore: books what the chain shows and the ledger forgot, and lifts the fence when both agree to the unit.

In this order, each step read from the chain before the ledger may rely on it:

1. wait until no payment that was signed before the fence can land any more: finality has passed the last height at
   which the newest blockhash of that moment was good;
2. find the sessions that were granted after the backup, by the owners' token accounts;
3. book every transfer by a session's key that no attempt explains;
4. compare all again, and with it the allowance that the chain still gives: a node whose history lacks a transaction
   shows less than the allowance says, and the fence stays up.

An interruption anywhere leaves the fence up and what is booked booked; the next run goes on.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from uuid import UUID

from autopay.domain.money import Currency, show
from autopay.domain.network import Network
from autopay.domain.payment.chain import Blockhash, Tip, TokenAccount
from autopay.domain.payment.payment import Settlement
from autopay.domain.payment.ports import SessionStore
from autopay.domain.reconcile.compare import Finding, Line, Payer
from autopay.domain.reconcile.forgotten import ForgottenPayment, ForgottenSession
from autopay.domain.reconcile.marks import Marks
from autopay.domain.reconcile.report import Report
from autopay.domain.reconcile.run import Books, ChainWalk, ReconcileRun
from autopay.domain.values import Value

POLL_S = 2.0

Tell = Callable[[str], None]
"""Says what is being done, for people."""


class Owner(Value):
    """A wallet whose token accounts agents pay from, and the agent to book what is found there for."""

    wallet: str
    agent_id: UUID
    agent: str


class Rebooked(Value):
    """What was found behind the fence; `lifted` when nothing is left to find."""

    lifted: bool
    sessions: int
    payments: int
    amount_atomic: dict[Currency, int]
    problems: tuple[str, ...]
    report: Report


class RestoredBooks(Books, Protocol):
    """What is asked of a restored ledger, and booked in it."""

    async def owners(self) -> Sequence[Owner]: ...
    async def book_session(self, found: ForgottenSession) -> bool: ...
    async def book_forgotten(self, payment: ForgottenPayment) -> bool: ...
    async def newest_known_slot(self) -> int | None: ...


class RestoredFence(Protocol):
    """The fence that a restore, or a chain that knows more, has set."""

    async def note_height(self, height: int) -> int: ...
    async def lift(self, why: str) -> None: ...


class RestoredLedger(Protocol):
    """The parts of the ledger that are used behind the fence."""

    @property
    def reconciliation(self) -> RestoredBooks: ...
    @property
    def fence(self) -> RestoredFence: ...
    @property
    def sessions(self) -> SessionStore: ...


class OwnersChain(ChainWalk, Protocol):
    """What the chain is asked."""

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
    """One run behind the fence; `sleep` waits between looks at the chain, in seconds; `despite` is a person's reason
    to lift it in spite of what does not fit."""

    def __init__(
        self,
        ledger: RestoredLedger,
        chain: OwnersChain,
        network: Network,
        mints: dict[Currency, str],
        sleep: Callable[[float], Awaitable[None]],
        tell: Tell,
        despite: str | None = None,
    ) -> None:
        self._books = ledger.reconciliation
        self._fence = ledger.fence
        self._sessions = ledger.sessions
        self._chain = chain
        self._network = network
        self._mints = mints
        self._sleep = sleep
        self._tell = tell
        self._despite = despite

    async def run(self) -> Rebooked:
        """Find, book, compare, and lift the fence if nothing speaks against it."""
        await self._until_nothing_can_land()
        sessions = await self._forgotten_sessions()
        found = await self._forgotten_payments()
        compared, report = await self._compare()
        pruned = await self._pruned()
        problems = [
            f"reconcile: {entry.reason.value}, {entry.transaction or entry.request_id}"
            for entry in (*report.unmatched_chain, *report.unmatched_ledger)
        ]
        problems += pruned
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

    async def _until_nothing_can_land(self) -> None:
        height = await self._fence.note_height((await self._chain.latest_blockhash()).last_valid_block_height)
        while (now := (await self._chain.finalized_tip()).block_height) <= height:
            self._tell(f"payments signed before the fence can land for {height - now + 1} more blocks")
            await self._sleep(POLL_S)

    async def _forgotten_sessions(self) -> int:
        known = {payer.source_account for payer in await self._books.payers(None)}
        booked = 0
        for owner in await self._books.owners():
            for currency, mint in self._mints.items():
                for account in await self._chain.accounts_of(owner.wallet, mint):
                    if account.address not in known:
                        booked += await self._book_sessions(owner, currency, account)
        return booked

    async def _book_sessions(self, owner: Owner, currency: Currency, account: TokenAccount) -> int:
        moved = await self._chain.payers_from(account)
        if account.delegate is not None:
            moved.setdefault(account.delegate, 0)
        booked = 0
        for authority, amount in sorted(moved.items()):
            left = account.delegated_atomic if authority == account.delegate else 0
            self._tell(f"account {account.address} of {owner.wallet} belongs to a session that was forgotten")
            session = ForgottenSession(
                agent_id=owner.agent_id,
                currency=currency,
                mint=account.mint,
                owner=owner.wallet,
                source_account=account.address,
                authority=authority,
                allowance_atomic=left + amount,
            )
            booked += await self._books.book_session(session)
        return booked

    async def _forgotten_payments(self) -> list[ForgottenPayment]:
        run = self._walk()
        await run.run()
        found = []
        for payer, line in run.met(Finding.UNKNOWN_TO_LEDGER):
            payment = await self._forgotten(payer, line)
            if await self._books.book_forgotten(payment):
                price = show(payment.settlement.amount_atomic, payment.currency)
                self._tell(f"booked {price} that {payer.agent} paid in {payment.settlement.signature}")
                found.append(payment)
        return found

    async def _forgotten(self, payer: Payer, line: Line) -> ForgottenPayment:
        assert line.transfer is not None
        seen = line.transfer
        return ForgottenPayment(
            session_id=payer.session_id,
            network=self._network,
            currency=payer.currency,
            settlement=Settlement(
                signature=seen.signature,
                slot=seen.slot,
                payer=seen.transfer.authority,
                destination=seen.transfer.destination,
                mint=seen.transfer.mint,
                amount_atomic=seen.transfer.amount_atomic,
            ),
            source_account=payer.source_account,
            message_hash=seen.message_hash,
            memo=await self._chain.memo(seen.signature),
        )

    async def _compare(self) -> tuple[Sequence[Payer], Report]:
        run = self._walk()
        report = await run.run()
        return [each.payer for each in run.walked], report

    async def _pruned(self) -> list[str]:
        """A node that has thrown away what came after the backup cannot show what was forgotten."""
        held, known = await self._chain.first_available_slot(), await self._books.newest_known_slot()
        if known is None or held <= known:
            return []
        return [f"the node holds no slot before {held}; the newest payment of the backup is in slot {known}"]

    async def _allowance_problem(self, payer: Payer, slot: int) -> list[str]:
        """What the chain says is left of a session's allowance, against what is booked up to that reading."""
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
        def tell(done: int, of: int, walked: int) -> None:
            self._tell(f"session {done} of {of}, {walked} transactions walked")

        return ReconcileRun(self._books, self._chain, self._network, Marks(network=self._network), tell=tell)
