"""An agent's state with a clock, requests to queue, and notices of payments. No workflow, no ledger."""

from datetime import UTC, datetime, timedelta

from autopay.domain.agent.spec import AgentSpec, Rules, Watch
from autopay.domain.agent.state.durable_state import DurableState
from autopay.domain.agent.state.report import build_status
from autopay.domain.agent.status import AgentStatus, BreakerState, Spendable
from autopay.domain.agent.steps import QueuedRequest
from autopay.domain.money import Currency
from autopay.domain.payment.notice import Held, Notice
from autopay.domain.phase import Phase
from autopay.domain.request import RequestSpec, RequestStatus

START = datetime(2026, 1, 1, tzinfo=UTC)
PRICE = 1_000
A, B, C = "https://a.example/x", "https://b.example/x", "https://c.example/x"


class AgentDriver:
    """Drives one state as the workflow does."""

    def __init__(
        self, *watches: Watch, funds: int | None = 1_000_000, phase: Phase = Phase.FULL, **rules: object
    ) -> None:
        limits = Rules.model_validate({"thresholds": {Currency.USDC: 2 * PRICE}} | rules)
        self.state = DurableState(spec=AgentSpec(name="buyer", phase=phase, watches=watches, rules=limits))
        self.now = START
        self.state.schedule.update("buyer", watches, START)
        if funds is not None:
            self.read(funds)

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def read(self, funds: int, account: str | None = "account") -> None:
        """The balances are read, in no time."""
        self.state.balances.begin_reading()
        self.end_reading(funds, account)

    def end_reading(self, funds: int, account: str | None = "account") -> None:
        """A reading ends that has begun before."""
        reading = Spendable(
            currency=Currency.USDC, balance_atomic=funds, spendable_atomic=funds, limit="balance", account=account
        )
        self.state.record_balances([reading], self.now, self.now)

    def queue(self, request_id: str, url: str = A, **more: object) -> None:
        """A request by hand is accepted."""
        spec = RequestSpec.model_validate({"request_id": request_id, "url": url} | more)
        self.state.queue.add(
            QueuedRequest(
                request_id=request_id,
                url=url,
                score=self.state.score(spec, self.now),
                queued_at=self.now,
                watch=spec.watch,
                max_price_atomic=spec.max_price_atomic,
                currency=spec.currency,
            )
        )

    def due(self) -> list[str]:
        """Watches that are due are queued; their names."""
        due = self.state.due_watches(self.now)
        for watch in due:
            self.queue(f"{watch.name}-{self.now.timestamp():.0f}", watch.url, watch=watch.name)
            self.state.schedule.record_request(watch, self.now)
        return [watch.name for watch in due]

    def start(self) -> list[str]:
        """All that may start does; their ids."""
        started = []
        while (taken := self.state.begin_next(self.now)) is not None:
            started.append(taken[0].request_id)
        return started

    def start_one(self) -> tuple[str, BreakerState] | None:
        taken = self.state.begin_next(self.now)
        return (taken[0].request_id, taken[1]) if taken is not None else None

    def notice(self, request_id: str, status: RequestStatus, *, final: bool = True, **more: object) -> None:
        """A payment says something."""
        values = {"request_id": request_id, "status": status, "final": final} | more
        self.state.apply_notice(Notice.model_validate(values), self.now)

    def delivered(self, request_id: str, amount: int = PRICE, *, final: bool = True) -> None:
        self.notice(
            request_id,
            RequestStatus.DELIVERED,
            final=final,
            currency=Currency.USDC,
            amount_atomic=amount,
            transaction="s",
        )

    def silent(self, request_id: str) -> None:
        self.notice(request_id, RequestStatus.FAILED, error="seller_unavailable")

    def hold(self, request_id: str, why: Held | None, error: str | None = None) -> None:
        self.notice(request_id, RequestStatus.WAITING, final=False, held=why, error=error)

    def know_price(self, url: str, amount: int) -> None:
        """The endpoint was bought from once, long ago."""
        self.queue(f"known-{url}-{amount}"[-60:].replace("/", "."), url)
        (request_id,) = self.start()
        self.delivered(request_id, amount) if amount else self.notice(request_id, RequestStatus.FREE)
        self.state.balances.paid_since.clear()

    def status(self) -> AgentStatus:
        return build_status(self.state, self.now, has_ended=False)
