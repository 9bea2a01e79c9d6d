"""How a run that this release begins is told from one that an earlier release began, whose commands stay as they were.

| run | is told by | costs |
|---|---|---|
| a payment | its second argument, `PAYMENT_RELEASE`; without one, 0.2.0 began it | no event |
| an agent | one patch, asked first of all when a run begins | one marker and one upsert for thousands of payments |

Beside workers of another release: one that does not know the second argument, or not that number, fails the workflow's
task. The server offers it again until a worker takes it that knows, and nothing has happened meanwhile.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from autopay.domain.payment.steps import PAYMENT_RELEASE

AGENT_RELEASE = "agent-0.3"
"""The patch since which an agent does together what comes together, and keeps in the ledger what it is to do."""

NOTICE_LISTS = "notices-told-together"
"""A patch for an agent's run of 0.2.0."""


def check_payment_release(release: int) -> None:
    """Raises RuntimeError, which leaves the task to another worker, if a newer release has begun this run."""
    if not 0 <= release <= PAYMENT_RELEASE:
        raise RuntimeError(f"release {release} of PaidRequest is not known here: a newer worker goes on with it")


def is_new_agent() -> bool:
    """Whether this release has begun the agent's run. Asked first when it begins: the answer is the same ever after."""
    return workflow.patched(AGENT_RELEASE)


def takes_notice_lists() -> bool:
    """Whether the agent takes notices in lists: also a run of 0.2.0, from the first list on that comes to this release.

    A worker of before has dropped those before it.
    """
    return is_new_agent() or workflow.patched(NOTICE_LISTS)
