"""Clients that belong to nobody: they send agents and payments what cannot be read, all through a run.

What must not live here: messages that can be read (buyers.py), and judgement of money.
"""

import asyncio
import random
from collections import Counter

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from autopay.domain.request import agent_workflow_id, payment_workflow_id
from tests.chaos.plan import AGENTS, Plan
from tests.workflow.messages import UNREADABLE, signal, update

EVERY_S = 0.3
PATIENCE_S = 5
"""For the answer to an update; a dead worker gives none."""

SIGNALS = {"agent": ("cancel", "notice", "resume", "check_balances"), "pay": ("withdraw", "approve", "stop")}
"""`stop` to an agent is not among them: it takes no value, so that one stops it whatever comes with it."""
UPDATES = {"agent": ("request", "watch", "unwatch", "phase"), "pay": ("approve", "deny")}


class Strangers:
    """`sent` counts what reached a workflow, by its kind; `taken` are updates that were not refused."""

    def __init__(self, client: Client, plan: Plan) -> None:
        self.sent: Counter[str] = Counter()
        self.taken: list[str] = []
        self._client = client
        self._plan = plan
        self._dice = random.Random(f"strangers {plan.seed}")  # noqa: S311 (no secret)

    async def disturb(self) -> None:
        """Message after message, until canceled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._send()
            except TimeoutError:
                continue
            except RPCError as away:  # Temporal is not there, or no such workflow runs (any more)
                if away.status in (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED):
                    raise

    async def _send(self) -> None:
        dice = self._dice
        kind = dice.choice(("agent", "pay"))
        purchase = dice.choice(self._plan.purchases)
        to_agent = agent_workflow_id(dice.choice(AGENTS))
        workflow_id = to_agent if kind == "agent" else payment_workflow_id(purchase.agent, purchase.request_id)
        what, payloads = dice.choice(sorted(UNREADABLE.items(), key=lambda each: each[0]))
        if dice.random() < 0.5:
            await signal(self._client, workflow_id, dice.choice(SIGNALS[kind]), *payloads)
            self.sent[f"signal to {kind}"] += 1
            return
        name = dice.choice(UPDATES[kind])
        refused = await update(self._client, workflow_id, name, *payloads)
        self.sent[f"update to {kind}"] += 1
        if refused is None:
            self.taken.append(f"{workflow_id} took the update {name} with {what}")
