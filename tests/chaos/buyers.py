"""Clients that ask agents for data and do not give up: the same id again for as long as nobody takes it.

What must not live here: faults, and judgement.
"""

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from autopay.adapters.vault import Vault
from autopay.domain.agent.status import Accepted
from autopay.domain.money import Currency
from autopay.domain.payment.exchange import RequestExtras
from autopay.domain.refusal import RefusalReason
from autopay.domain.request import RequestSpec, agent_workflow_id, x402_request_id
from tests.chaos.plan import Purchase
from tests.chaos.progress import Progress

ABREAST = 8
"""Clients of an agent at a time; it pays for four, the others wait in its queue."""
ANSWER_S = 15
AGAIN_S = 0.3
"""A client whose call failed asks again after this, as any client would."""

AWAY = (RPCError, RuntimeError, TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError)
"""Temporal is not there, or lost the call."""


class Buyers:
    """All clients of a run. `again` counts by its reason how often a call was repeated, `refused` by request."""

    def __init__(self, client: Client, vault: Vault, apis: Mapping[str, str], progress: Progress) -> None:
        self.again: Counter[str] = Counter()
        self.refused: dict[str, str] = {}
        self._client = client
        self._vault = vault
        self._apis = apis
        self._progress = progress

    async def buy(self, purchases: Sequence[Purchase]) -> None:
        """Issue all, and return when each has ended."""
        waiting: dict[str, deque[Purchase]] = {}
        for purchase in purchases:
            waiting.setdefault(purchase.agent, deque()).extend([purchase] * (2 if purchase.twice else 1))
        async with asyncio.TaskGroup() as clients:
            for queue in waiting.values():
                for _ in range(ABREAST):
                    clients.create_task(self._client_of(queue))

    async def _client_of(self, queue: deque[Purchase]) -> None:
        while queue:
            purchase = queue.popleft()
            spec = self.spec(purchase)
            while not await self._taken(purchase, spec):  # noqa: ASYNC110 (nobody tells when Temporal is back)
                await asyncio.sleep(AGAIN_S)
            name = f"{purchase.agent}/{purchase.request_id}"
            if name not in self.refused:
                await self._progress.until_ended(name)

    async def _taken(self, purchase: Purchase, spec: RequestSpec) -> bool:
        """Whether the agent has decided on it; asked again, it decides the same."""
        handle: WorkflowHandle[Any, Any] = self._client.get_workflow_handle(agent_workflow_id(purchase.agent))
        try:
            async with asyncio.timeout(ANSWER_S):
                await handle.execute_update("request", spec, result_type=Accepted)
        except AWAY as error:
            self.again[_named(error)] += 1
            return False
        except WorkflowUpdateFailedError as error:
            cause = error.cause
            if isinstance(cause, ApplicationError) and cause.type in set(RefusalReason):
                self.refused[f"{purchase.agent}/{purchase.request_id}"] = cause.type
                return True
            self.again[f"update failed: {cause}"[:100]] += 1
            return False
        return True

    def spec(self, purchase: Purchase) -> RequestSpec:
        """What is asked; the body is sealed as `autopay request` seals it."""
        sealed, body_hash = None, None
        if purchase.body is not None:
            extras = RequestExtras(headers={"Content-Type": "application/json"}, body=purchase.body)
            key = x402_request_id(purchase.agent, purchase.request_id)
            sealed = self._vault.seal(extras.model_dump_json().encode(), purpose="request-extras", row=key)
            body_hash = hashlib.sha256(purchase.body).hexdigest()
        return RequestSpec(
            request_id=purchase.request_id,
            url=self._apis[purchase.api] + purchase.path,
            method="GET" if purchase.body is None else "POST",
            max_price_atomic=purchase.max_price_atomic,
            currency=Currency(purchase.currency) if purchase.currency else None,
            body_hash=body_hash,
            sealed_extras=sealed,
        )


def _named(error: BaseException) -> str:
    return error.status.name.lower() if isinstance(error, RPCError) else type(error).__name__
