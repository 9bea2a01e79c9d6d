"""What the server remembers of a workflow run: results in order, once committed. What is not committed is lost."""

from dataclasses import dataclass, field
from typing import Any

from autopay.domain.payment.steps import StepFailed


class WorkflowFailed(Exception):
    """A step failed for good where the workflow does not catch it."""


class ContinuedAsNew(Exception):
    """The run ended, and the same workflow begins again with the same order and an empty history."""


@dataclass(frozen=True)
class Outcome:
    """What a step came to: a value, or its failure."""

    kind: str
    value: Any = None
    failure: StepFailed | None = None

    def get(self) -> Any:
        """The value; raises what failed."""
        if self.failure is not None:
            raise StepFailed(self.failure.type, self.failure.message)
        return self.value


@dataclass
class Journal:
    """The history of one run. `canceled_at` is the step that was under way when the cancel came."""

    committed: list[Outcome] = field(default_factory=list)
    canceled_at: int | None = None
    submit_tries: int = 0
    timers: dict[int, int] = field(default_factory=dict)

    def forget_uncommitted(self) -> None:
        """A worker is gone, and with it what it had not told the server."""
        if self.canceled_at is not None:
            self.canceled_at = min(self.canceled_at, len(self.committed))
