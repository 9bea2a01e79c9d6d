"""What an agent does to the world itself: its queue and phase in the ledger, and its balances on the chain."""

from typing import Literal

from temporalio import activity

from autopay.domain.agent.ports import AgentLedger
from autopay.domain.agent.spec import AgentSpec
from autopay.domain.agent.status import Spendable
from autopay.domain.agent.steps import (
    Backlog,
    BalanceQuery,
    Enqueued,
    EnqueuedOrRefused,
    InFlight,
    PhaseChange,
    ToEnqueue,
)
from autopay.domain.errors import PermanentFault
from autopay.domain.money import Currency
from autopay.domain.network import Network
from autopay.domain.payment.notice import Notice
from autopay.domain.payment.ports import Chain
from autopay.domain.phase import Phase
from autopay.domain.refusal import Refused
from autopay.domain.request import RequestResult, RequestStatus, x402_request_id
from autopay.domain.session import OpenSession

MOST_SAID = 400
"""Characters of a message that travels in a notice."""


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
        """What the ledger holds for this agent: requests that wait, and requests that are under way."""
        self._check(spec.name, spec.phase)
        return await self._ledger.requests.backlog(spec.name)

    @activity.defn(name="change_phase")
    async def change_phase(self, change: PhaseChange) -> None:
        """How much the agent may do without a person, from the next payment on that is signed."""
        self._check(change.agent, Phase(change.phase))
        await self._ledger.agents.set_phase(change.agent, Phase(change.phase))

    def _check(self, agent: str, phase: Phase) -> None:
        if phase == Phase.DEMO and self._network == Network.MAINNET:
            raise DemoOnMainnet(agent)

    @activity.defn(name="enqueue")
    async def enqueue(self, to_enqueue: ToEnqueue) -> EnqueuedOrRefused:
        """Accept a request into the ledger and its queue, or answer it with what the agent has already.

        A known id with the same terms is answered as it stands.
        """
        agent, spec = to_enqueue.agent, to_enqueue.spec
        if to_enqueue.fresh_since is not None:
            fresh = await self._ledger.requests.answer_fresh(agent, spec, to_enqueue.fresh_since)
            if fresh is not None:
                return fresh
        refused = await self._ledger.requests.accept(agent, spec, to_enqueue.score, to_enqueue.queue_limit)
        if refused is not None:
            return refused
        result = (await self._ledger.requests.get(x402_request_id(agent, spec.request_id))).result
        return Enqueued(status=result.status, content_of=result.content_of)

    @activity.defn(name="ended_among")
    async def ended_among(self, believed: InFlight) -> list[Notice]:
        """Those of the requests that have ended, as the notice that each should have sent.

        One that the ledger does not know (it was restored) has ended, too: nothing more will be heard of it.
        """
        ended, unknown = await self._ledger.requests.ended_among(believed.agent, believed.request_ids)
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
        return [*(_notice_of(result) for result in ended), *lost]

    @activity.defn(name="balances")
    async def balances(self, query: BalanceQuery) -> list[Spendable]:
        """What the agent can spend in each of its currencies; recorded as balance snapshots.

        PAUSED when no currency has what it needs, which pauses the agent; LOW where only some have not.
        """
        found = []
        for currency in query.currencies:
            session = await self._ledger.sessions.current(query.agent, currency)
            found.append(
                _nothing(currency, session.message)
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

        The session's books are read before the chain: a payment that lands in between is then counted twice, never
        not at all.
        """
        reserved = await self._ledger.sessions.in_flight_atomic(session.key.session_id)
        account = await self._chain.token_account(session.key.source_account)
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


def _notice_of(result: RequestResult) -> Notice:
    paid = result.transaction is not None and result.price_atomic is not None
    return Notice(
        request_id=result.request_id,
        status=result.status,
        final=True,
        error=result.error.type if result.error else None,
        http_status=result.http_status,
        currency=result.currency if paid else None,
        amount_atomic=result.price_atomic if paid and result.price_atomic else 0,
        transaction=result.transaction,
        message=result.error.message[:MOST_SAID] if result.error else None,
    )


def _nothing(currency: Currency, problem: str) -> Spendable:
    return Spendable(currency=currency, balance_atomic=0, spendable_atomic=0, limit="none", session_problem=problem)
