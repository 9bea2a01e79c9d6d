"""What an agent does to the world itself: its queue in the ledger, and its balances on the chain."""

from typing import Literal

from temporalio import activity

from autopay.domain.agent import AgentSpec, Notice, Phase, Spendable
from autopay.domain.errors import PermanentFault
from autopay.domain.money import Currency, to_atomic
from autopay.domain.network import Network
from autopay.domain.offer import Refused
from autopay.domain.ports import Chain, Ledger, OpenSession
from autopay.domain.request import RequestResult, RequestSpec, x402_request_id
from autopay.domain.steps import Backlog, BalanceQuery, Enqueued, EnqueuedOrRefused, InFlight, QueuedRequest, ToEnqueue


class DemoOnMainnet(PermanentFault):
    """An agent in phase DEMO never runs on mainnet; launch it with --phase interactive or full."""


class AgentSteps:
    """The agent's own activities."""

    def __init__(self, ledger: Ledger, chain: Chain, network: Network) -> None:
        self._ledger = ledger
        self._chain = chain
        self._network = network

    @activity.defn(name="recover")
    async def recover(self, spec: AgentSpec) -> Backlog:
        """What the ledger holds for this agent: requests that wait, and requests that are under way."""
        if spec.phase == Phase.DEMO and self._network == Network.MAINNET:
            raise DemoOnMainnet(spec.name)
        waiting = await self._ledger.queue(spec.name)
        open_ids = await self._ledger.open_requests(spec.name)
        return Backlog(
            queue=tuple([await self._queued(spec.name, row.request_id, row.priority_score) for row in waiting]),
            open=tuple([await self._queued(spec.name, request_id, 0.0) for request_id in open_ids]),
        )

    async def _queued(self, agent: str, request_id: str, score: float) -> QueuedRequest:
        spec = (await self._ledger.request(x402_request_id(agent, request_id))).spec
        return queued_request(spec, score)

    @activity.defn(name="enqueue")
    async def enqueue(self, to_enqueue: ToEnqueue) -> EnqueuedOrRefused:
        """Accept a request into the ledger and its queue; a known id with the same terms is answered as it stands."""
        agent, spec = to_enqueue.agent, to_enqueue.spec
        refused = await self._ledger.accept(agent, spec, to_enqueue.score, to_enqueue.queue_limit)
        if refused is not None:
            return refused
        record = await self._ledger.request(x402_request_id(agent, spec.request_id))
        return Enqueued(status=record.result.status)

    @activity.defn(name="ended_among")
    async def ended_among(self, believed: InFlight) -> list[Notice]:
        """Those of the requests that have ended, as the notice that each should have sent."""
        notices = []
        for request_id in believed.request_ids:
            record = await self._ledger.request(x402_request_id(believed.agent, request_id))
            if record.closed:
                notices.append(_notice_of(record.result))
        return notices

    @activity.defn(name="balances")
    async def balances(self, query: BalanceQuery) -> list[Spendable]:
        """What the agent can spend in each of its currencies; recorded as balance snapshots."""
        found = []
        for currency in query.currencies:
            session = await self._ledger.session(query.agent, currency)
            spendable = (
                _nothing(currency, session.message)
                if isinstance(session, Refused)
                else await self._spendable(currency, session)
            )
            threshold = query.thresholds.get(currency, 0)
            status: Literal["SUFFICIENT", "LOW", "PAUSED"] = "SUFFICIENT"
            if spendable.spendable_atomic < threshold:
                status = "PAUSED" if query.paused else "LOW"
            await self._ledger.record_balance(query.agent, currency, spendable.balance_atomic, threshold, status)
            found.append(spendable)
        return found

    async def _spendable(self, currency: Currency, session: OpenSession) -> Spendable:
        """The least of balance and allowance on chain, minus what is reserved and not yet seen there, and the budget.

        The session's books are read before the chain: a payment that lands in between is then counted twice, never
        not at all.
        """
        reserved = await self._ledger.unsettled(session.key.session_id)
        account = await self._chain.token_account(session.key.source_account)
        balance = account.amount_atomic if account else 0
        allowance = account.delegated_atomic if account and account.delegate == session.key.authority else 0
        limits: dict[Literal["balance", "allowance", "session_budget"], int] = {
            "balance": balance - reserved,
            "allowance": allowance - reserved,
            "session_budget": session.key.allowance_atomic - session.spent_atomic,
        }
        limit = min(limits, key=lambda name: limits[name])
        return Spendable(
            currency=currency,
            balance_atomic=balance,
            spendable_atomic=max(0, limits[limit]),
            limit=limit,
        )


def _notice_of(result: RequestResult) -> Notice:
    paid = result.transaction is not None and result.price is not None
    return Notice(
        request_id=result.request_id,
        status=result.status,
        final=True,
        currency=result.currency if paid else None,
        amount_atomic=to_atomic(result.price) if paid and result.price else 0,
        transaction=result.transaction,
        message=result.error.message if result.error else None,
    )


def _nothing(currency: Currency, problem: str) -> Spendable:
    return Spendable(currency=currency, balance_atomic=0, spendable_atomic=0, limit="none", session_problem=problem)


def queued_request(spec: RequestSpec, score: float) -> QueuedRequest:
    """What the agent keeps in mind of a request that waits."""
    return QueuedRequest(request_id=spec.request_id, url=spec.url, method=spec.method, score=score, watch=spec.watch)
