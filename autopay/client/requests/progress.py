"""What a request that has not ended waits for, in a sentence: from the ledger, and from its agent while nothing is
signed.
"""

import time
from collections.abc import Callable

from autopay.adapters.postgres import PostgresLedger
from autopay.client.agents.handle import AgentHandle
from autopay.client.errors import AgentNotRunning, AutopayError
from autopay.domain.agent.status import AgentState, AgentStatus
from autopay.domain.payment.notice import WAITS_FOR
from autopay.domain.payment.payment import Attempt, Dead, Payment
from autopay.domain.text.command_line import command_line
from autopay.domain.text.times import span

ProgressCallback = Callable[[str], None]
"""Is called with a sentence about what is waited for, each time that it changes."""

AGENT_POLL_S = 3.0
"""The agent is asked at most this often; the ledger much more often."""

PROOF_BLOCKS = 150 + 32
"""Blocks in which a payment can land, and those until that is final: after them it is final or proven not paid."""


class ProgressReporter:
    """Follows one request, and calls `on_progress` when it waits for something else than before."""

    def __init__(
        self,
        ledger: PostgresLedger,
        agent: AgentHandle,
        request_id: str,
        slot_ms: int,
        on_progress: ProgressCallback,
    ) -> None:
        self._ledger = ledger
        self._agent = agent
        self._request_id = request_id
        self._slot_ms = slot_ms
        self._on_progress = on_progress
        self._last = ""
        self._attempt_since: dict[int, float] = {}
        self._ask_agent_at = 0.0

    async def update(self, request_key: str) -> None:
        """Read what it waits for now."""
        payment = await self._ledger.payments.recall(request_key)
        if payment.last is not None:
            since = self._attempt_since.setdefault(payment.last.number, time.monotonic())
            proof_s = max(1.0, PROOF_BLOCKS * self._slot_ms / 1000 - (time.monotonic() - since))
            text = describe_payment(payment, payment.last, proof_s)
        elif time.monotonic() >= self._ask_agent_at:
            self._ask_agent_at = time.monotonic() + AGENT_POLL_S
            text = await self._ask_agent()
        else:
            return
        if text != self._last:
            self._last = text
            self._on_progress(text)

    async def _ask_agent(self) -> str:
        try:
            return describe_queued(await self._agent.status(), self._request_id)
        except AgentNotRunning:
            return f"agent {self._agent.name} is not running: {command_line('launch', self._agent.name)}"
        except AutopayError as error:
            return error.told or str(error)


def describe_payment(payment: Payment, last: Attempt, proof_s: float) -> str:
    """What a request with a signed payment waits for; at most `proof_s` are left until it is proven not paid."""
    answer = f"HTTP {payment.http_status}" if payment.http_status is not None else "no answer"
    if isinstance(last.outcome, Dead):
        then = "the request ends" if payment.conflict else "the seller is asked for its terms again"
        return f"payment {last.number} failed ({last.outcome.reason}): it is proven that nothing was paid; {then}"
    if last.seen:
        return f"paid, not delivered yet ({answer}); the seller is asked again with the same payment"
    if last.sends == 0 or last.last_answer is None:
        return f"payment {last.number} is signed and handed to the seller; waiting for its answer"
    proof = f"waiting for proof that nothing was paid: at most about {span(proof_s)}"
    if payment.conflict:
        return f"the seller refused the payment ({answer}); {proof}"
    if last.sends < payment.max_sends:
        return f"no content yet ({answer}); the same payment is sent again, {_sends(payment, last)}"
    return f"no content ({answer}); {proof}"


def _sends(payment: Payment, last: Attempt) -> str:
    return f"{last.sends} of {payment.max_sends} times so far"


def describe_queued(status: AgentStatus, request_id: str) -> str:
    """What a request waits for while nothing is signed."""
    held = next((each for each in status.held if each.request_id == request_id), None)
    if held is not None:
        return f"waits for {WAITS_FOR[held.why]}: {held.message or held.error or ''}"
    if request_id not in status.queued:
        return "the seller is asked for its terms"
    place = f"place {status.queued.index(request_id) + 1} of {len(status.queued)}"
    if status.state is not AgentState.RUNNING:
        return f"waits in the queue ({place}): {status.name} is {status.state.value}: {status.reason}"
    waits = next((each.waits for each in status.next if each.request_id == request_id), None)
    return f"waits in the queue ({place}): {waits or 'others come first'}"
