"""Writes a person's decision on a payment into the ledger, where the payment finds it even if its workflow ends."""

from temporalio import activity

from autopay.domain.payment.ports import PolicyStore
from autopay.domain.policy.policy import Decision
from autopay.domain.refusal import Refused


class DecideStep:
    """Records approvals and denials."""

    def __init__(self, policies: PolicyStore) -> None:
        self._policies = policies

    @activity.defn(name="decide")
    async def decide(self, decision: Decision) -> Refused | None:
        """Record it, once; Refused when the question has expired, was another one, or was answered otherwise."""
        return await self._policies.decide(decision)
