"""`AgentSteps`: the activities of an agent: its queue and phase in the ledger, its balances on chain."""

from collections.abc import Sequence
from typing import Literal

from temporalio import activity

from activities.start_payments import start_all
from autopay.domain.agent.ports import AgentLedger
from autopay.domain.agent.spec import AgentSpec, SavedAgent
from autopay.domain.agent.status import Spendable
from autopay.domain.agent.steps import (
    Backlog,
    BalanceQuery,
    BatchOutcome,
    EnqueueBatch,
    EnqueuedOrRefused,
    EnqueueFailed,
    EnqueueInput,
    InFlightQuery,
    PhaseChange,
    ToEnqueue,
    Withdrawn,
)
from autopay.domain.errors import PermanentFault, TransientFault, stable_name
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.chain import TokenAccount
from autopay.domain.payment.notice import Notice
from autopay.domain.payment.ports import Chain
from autopay.domain.payment.report import notice_of
from autopay.domain.payment.settlement import LIFE_SLOTS
from autopay.domain.phase import Phase
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestStatus
from autopay.domain.session import ClaimedPayment, OpenSession

MAX_MESSAGE_LENGTH = 400
"""Characters of a message that travels in a notice."""


MOST_STARTED_AGAIN = 100
"""Payments that one look at what is in flight starts again."""


class DemoOnMainnet(PermanentFault):
    """An agent in phase DEMO never runs on mainnet; launch it with --phase interactive or full."""


class AgentSteps:
    """The agent's own activities."""

    def __init__(self, ledger: AgentLedger, chain: Chain, network: Network) -> None:
        self._ledger = ledger
        self._chain = chain
        self._network = network

    @activity.defn(name="recover")
    async def recover(self, spec: AgentSpec) -> Backlog:
        """What the ledger holds for this agent: requests that wait, and requests that have begun."""
        self._reject_demo_on_mainnet(spec.name, spec.phase)
        return await self._ledger.requests.backlog(spec.name)

    @activity.defn(name="save_agent")
    async def save_agent(self, saved: SavedAgent) -> None:
        """Keep in the ledger what the agent is to do, so that it can be brought back."""
        await self._ledger.agents.save(saved)

    @activity.defn(name="change_phase")
    async def change_phase(self, change: PhaseChange) -> list[Withdrawn] | None:
        """Set the phase of the agent, from the next payment on that is signed; the questions that this withdraws.

        None in histories of 0.2.0, which withdrew none.
        """
        self._reject_demo_on_mainnet(change.agent, Phase(change.phase))
        return list(await self._ledger.agents.set_phase(change.agent, Phase(change.phase)))

    def _reject_demo_on_mainnet(self, agent: str, phase: Phase) -> None:
        if phase == Phase.DEMO and self._network == Network.MAINNET:
            raise DemoOnMainnet(agent)

    @activity.defn(name="enqueue_many")
    async def enqueue_many(self, batch: EnqueueBatch) -> list[BatchOutcome]:
        """Accept requests into the ledger and its queue, or answer them with what the agent has already.

        The outcome of each, in their order; a known id with the same terms gets its present status. When the batch
        cannot be recorded for a reason that time does not mend, each is tried by itself, so that only those fail that
        are the reason.
        """
        accept = self._ledger.requests.accept_many
        try:
            return list(await accept(batch.agent, batch.requests, batch.queue_limit))
        except TransientFault:
            raise
        except Exception:
            if len(batch.requests) == 1:
                raise
            activity.logger.exception("%d requests could not be recorded together", len(batch.requests))
        return [await self._enqueue_alone(batch, each) for each in batch.requests]

    async def _enqueue_alone(self, batch: EnqueueBatch, request: ToEnqueue) -> BatchOutcome:
        try:
            (outcome,) = await self._ledger.requests.accept_many(batch.agent, [request], batch.queue_limit)
        except TransientFault:
            raise
        except Exception as error:
            activity.logger.exception("request %s could not be recorded", request.spec.request_id)
            return EnqueueFailed(type=stable_name(type(error).__name__), message=str(error)[:MAX_MESSAGE_LENGTH])
        return outcome

    @activity.defn(name="enqueue")
    async def enqueue(self, to_enqueue: EnqueueInput) -> EnqueuedOrRefused:
        """Accept one request, for runs that began before requests were recorded together."""
        request = ToEnqueue(spec=to_enqueue.spec, score=to_enqueue.score, fresh_since=to_enqueue.fresh_since)
        accept = self._ledger.requests.accept_many
        (outcome,) = await accept(to_enqueue.agent, [request], to_enqueue.queue_limit)
        return outcome

    @activity.defn(name="ended_among")
    async def ended_among(self, query: InFlightQuery) -> list[Notice]:
        """The requests of the query that have ended, as the notice that each should have sent.

        One that the ledger does not know (it was restored) counts as failed: no notice of it will come. One that waits
        in the ledger's queue still was started a moment ago, or its workflow is gone: it is started, unless it runs.
        """
        ended, unknown = await self._ledger.requests.ended_among(query.agent, query.request_ids)
        await self._start_again(query)
        lost = [
            Notice(
                request_id=request_id,
                status=RequestStatus.FAILED,
                final=True,
                error="unknown_request",
                message="the ledger does not know this request",
            )
            for request_id in unknown
        ]
        return [*(notice_of(result, final=True) for result in ended), *lost]

    async def _start_again(self, query: InFlightQuery) -> None:
        """Start what has not begun; what cannot be started now is left to the next look."""
        started = [each for each in query.request_ids if each not in query.to_start]
        orders = (await self._ledger.requests.not_begun(query.agent, started))[:MOST_STARTED_AGAIN]
        if not orders:
            return
        for order, error in await start_all(activity.client(), activity.info().task_queue, orders):
            activity.logger.warning("%s cannot be started again: %s", order.request_id, error.message)

    @activity.defn(name="balances")
    async def balances(self, query: BalanceQuery) -> list[Spendable]:
        """What the agent can spend in each of its currencies; recorded as balance snapshots.

        A snapshot is PAUSED when no currency has what it needs, which pauses the agent, and LOW when another one has.
        """
        found = []
        for currency in query.currencies:
            session = await self._ledger.sessions.current(query.agent, currency)
            found.append(
                _without_session(currency, session.message)
                if isinstance(session, Refused)
                else await self._spendable(currency, session)
            )
        pauses = all(each.spendable_atomic < query.needed[each.currency] for each in found)
        for each in found:
            needed = query.needed[each.currency]
            status: Literal["SUFFICIENT", "LOW", "PAUSED"] = "SUFFICIENT"
            if each.spendable_atomic < needed:
                status = "PAUSED" if pauses else "LOW"
            await self._ledger.agents.record_balance(query.agent, each.currency, each.balance_atomic, needed, status)
        return found

    async def _spendable(self, currency: Currency, session: OpenSession) -> Spendable:
        """The least of balance and allowance on chain, minus what is reserved and not yet seen there, and the budget.

        What the ledger has reserved is read before the chain: a payment that settles in between is counted twice
        then, never left out.
        """
        in_flight = await self._ledger.sessions.in_flight(session.key.session_id)
        account = await self._chain.token_account(session.key.source_account)
        reserved = in_flight.amount_atomic
        if account is not None and in_flight.claimed:
            reserved -= await self._shown_by(account, in_flight.claimed)
        balance = account.amount_atomic if account else 0
        allowance = account.delegated_atomic if account and account.delegate == session.key.authority else 0
        limits: dict[Literal["balance", "allowance", "session_budget"], int] = {
            "session_budget": session.key.allowance_atomic - session.spent_atomic,
            "allowance": allowance - reserved,
            "balance": balance - reserved,
        }
        # Of equal limits the first is named: what comes in by a transfer helps only where the others leave room.
        limit = min(limits, key=lambda name: limits[name])
        return Spendable(
            currency=currency,
            balance_atomic=balance,
            spendable_atomic=max(0, limits[limit]),
            limit=limit,
            account=session.key.source_account,
        )

    async def _shown_by(self, account: TokenAccount, claimed: Sequence[ClaimedPayment]) -> int:
        """Base units of the claimed payments that this reading of the account shows as gone already.

        A claim is the seller's word: it counts only as a transaction of this account, from after the payment was built.
        What a seller could gain by a wrong one is that the agent asks for what its ledger and the chain then refuse.
        """
        young = [each for each in claimed if account.slot - each.blockhash_slot <= LIFE_SLOTS]  # bounds the history
        if not young:
            return 0
        history = await self._chain.history(
            account.address, until=young[0].newest_prior_signature, final=False, min_slot=None
        )
        shown = {each.signature: each.slot for each in history if not each.failed and each.slot <= account.slot}
        found = 0
        for each in young:
            if shown.pop(each.signature, -1) >= each.blockhash_slot:
                found += each.amount_atomic
        return found


def _without_session(currency: Currency, problem: str) -> Spendable:
    return Spendable(currency=currency, balance_atomic=0, spendable_atomic=0, limit="none", session_problem=problem)
