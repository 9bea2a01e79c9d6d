"""A buyer made of the real parts, without Temporal: the run, the activities as the worker builds them, real adapters.

What must not live here: sellers, and what must come of them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from temporalio.testing import ActivityEnvironment

from autopay.adapters.postgres import PostgresLedger
from autopay.adapters.solana.chain import SolanaChain
from autopay.adapters.solana.signer import PaymentSigner
from autopay.adapters.vault import Vault
from autopay.adapters.x402.seller import HttpSeller
from autopay.domain.errors import PermanentFault, TransientFault
from autopay.domain.money import Currency
from autopay.domain.payment.notice import Notice
from autopay.domain.payment.offer import Challenge
from autopay.domain.payment.payment import Payment, SellerAnswer, Verdict
from autopay.domain.payment.run import PaymentRun
from autopay.domain.payment.steps import (
    AttemptRef,
    FetchResult,
    LogInput,
    ParseResult,
    PaymentOrder,
    RecallResult,
    SignedAttempt,
    SignInput,
    SignResult,
    StepFailed,
)
from autopay.domain.policy.policy import Awaiting, Decision
from autopay.domain.request import RequestResult, RequestSpec, x402_request_id
from autopay.domain.session import NewSession
from autopay.settings import Settings
from tests.hostile.accounts import USDC
from tests.hostile.scene import ALLOWANCE, Scene
from tests.hostile.way import Way
from worker import activities

SLOT_MS = 20
MOST_WAIT_S = 0.4
"""A run's waits are politeness, and made shorter here; what it waits for is asked again until it is there."""

CONTENT_ASK_S = 3
"""Two more sends to a seller that keeps what was paid for."""

TRIES, PAUSE_S = 3, 0.05
MOST_WAIT_MS = 60_000
"""Longer than this no seller may hold a run up at a time."""


class RealSteps:
    """Implements `Steps`: calls each activity, a few times when its fault may pass."""

    def __init__(self, steps: dict[str, Callable[[Any], Awaitable[Any]]], approves: int) -> None:
        self.questions: list[Awaiting] = []
        self.waits_ms: list[int] = []
        self._steps = steps
        self._approves = approves
        self._environment = ActivityEnvironment()

    async def recall(self, order: PaymentOrder) -> RecallResult:
        found: RecallResult = await self._tried("recall", order)
        return found

    async def fetch(self, order: PaymentOrder) -> FetchResult:
        found: FetchResult = await self._tried("fetch", order)
        return found

    async def parse(self, order: PaymentOrder, challenge: Challenge) -> ParseResult:
        found: ParseResult = await self._tried("parse", order, challenge)
        return found

    async def sign(self, to_sign: SignInput) -> SignResult:
        found: SignResult = await self._tried("sign", to_sign)
        return found

    async def submit(self, order: PaymentOrder, attempt: SignedAttempt, send: int, told: Notice) -> SellerAnswer:
        await self.announce(told)  # there is no Temporal to tell the agent by
        found: SellerAnswer = await self._tried("submit", AttemptRef(order=order, number=attempt.number))
        return found

    async def verify(self, order: PaymentOrder, attempt: SignedAttempt, *, closing: bool) -> Verdict:
        ref = AttemptRef(order=order, number=attempt.number, closing=closing)
        found: Verdict = await self._tried("verify", ref)
        return found

    async def log(self, closing: LogInput) -> None:
        assert closing.notice is not None
        await self.announce(closing.notice)  # there is no Temporal to tell the agent by
        await self._tried("log", closing.model_copy(update={"notice": None}))

    async def wait(self, wait_ms: int, why: str) -> None:
        self.waits_ms.append(wait_ms)
        await asyncio.sleep(min(wait_ms / 1000, MOST_WAIT_S))

    async def wait_for_approval(self, awaiting: Awaiting) -> None:
        """A person answers at once."""
        self.questions.append(awaiting)
        decision = Decision(
            approval_id=awaiting.approval_id,
            terms_hash=awaiting.terms_hash,
            approve=len(self.questions) <= self._approves,
        )
        assert await self._tried("decide", decision) is None

    async def announce(self, notice: Notice) -> None:
        assert len(notice.message or "") <= 400

    def show(self, now: str, payment: Payment) -> None:
        """For people only."""

    async def _tried(self, name: str, *arguments: Any) -> Any:
        for left in reversed(range(TRIES)):
            try:
                return await self._environment.run(self._steps[name], *arguments)
            except PermanentFault as fault:
                raise _given_up(fault) from fault
            except TransientFault as fault:
                if not left:
                    raise _given_up(fault) from fault
                await asyncio.sleep(PAUSE_S)
        raise AssertionError("unreachable")


def _given_up(fault: Exception) -> StepFailed:
    name = "".join("_" + char.lower() if char.isupper() else char for char in type(fault).__name__)
    return StepFailed(name.lstrip("_"), str(fault))


class Buyer:
    """An agent of its own, with a session whose account lies on chain already."""

    def __init__(
        self, way: Way, scene: Scene, *, ledger: PostgresLedger, chain: SolanaChain, seller: HttpSeller, vault: Vault
    ) -> None:
        self.agent = str(way)
        self.currency = Currency.USDC if way.mint == USDC else Currency.CASH
        self._way, self._scene, self._ledger, self._vault = way, scene, ledger, vault
        cash_mint = "" if way.mint == USDC else str(way.mint.address)
        settings = Settings(slot_ms=SLOT_MS, cash_mint=cash_mint, content_ask_s=CONTENT_ASK_S)
        steps = activities(
            settings, ledger=ledger, chain=chain, seller=seller, signer=PaymentSigner(vault), vault=vault
        )
        self.steps = RealSteps({step.__name__: step for step in steps}, way.approves)

    async def open(self) -> None:
        """The agent, its policy, its session, and one in the currency that it does not pay in here."""
        await self._ledger.agents.create(self.agent, self._way.phase)
        await self._ledger.policies.set(self._way.policy, self.agent)
        other = next(each for each in Currency if each is not self.currency)
        await self._grant(other, "a mint of another currency", "other ")
        await self._grant(self.currency, str(self._scene.mint.address))

    async def _grant(self, currency: Currency, mint: str, which: str = "") -> None:
        session_id = uuid4()
        key = bytes(self._scene.key(f"{which}session"))
        await self._ledger.sessions.create(
            NewSession(
                agent=self.agent,
                currency=currency,
                mint=mint,
                source_account=self._scene.address(f"{which}source"),
                owner=self._scene.address(f"{which}owner"),
                authority=self._scene.address(f"{which}session"),
                sealed_key=self._vault.seal(key, purpose="session-key", row=str(session_id)),
                allowance_atomic=ALLOWANCE,
                tx_limit=100,
                duration_s=3_600,
                session_id=session_id,
            )
        )

    async def buy(self, number: int) -> RequestResult:
        """One request, to its end."""
        request_id = f"request-{number}"
        spec = RequestSpec(request_id=request_id, url=self._scene.url, max_price_atomic=self._way.most)
        assert await self._ledger.requests.accept(self.agent, spec, 1.0, 100) is None
        order = PaymentOrder(
            agent=self.agent,
            request_id=request_id,
            request_key=x402_request_id(self.agent, request_id),
            url=self._scene.url,
            accepted=spec,
        )
        return await PaymentRun(order, self.steps).run()
